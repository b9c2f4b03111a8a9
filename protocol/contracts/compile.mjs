// Compiles src/ with the pinned solc from npm and writes artifacts/*.json. Developers only: users need no compiler.
// usage: node protocol/contracts/compile.mjs [OUTDIR]   (solc is resolved from the working directory's node_modules or NODE_PATH)
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const SOLC = "0.8.37";
const MAX_RUNTIME_BYTES = 24576; // EIP-170
const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(join(process.cwd(), "package.json"));
const solc = require("solc");
if (!solc.version().startsWith(SOLC + "+")) throw new Error(`solc ${SOLC} wanted, found ${solc.version()}`);

const root = join(here, "src");
const files = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".sol")).sort();
const sources = {};
const sourceHashes = {};
for (const name of files) {
  const content = readFileSync(join(root, name), "utf8");
  sources[name] = { content };
  sourceHashes[name] = createHash("sha256").update(content).digest("hex");
}
const settings = {
  evmVersion: "cancun",
  viaIR: true,
  optimizer: { enabled: true, runs: 400 },
  metadata: { appendCBOR: false, bytecodeHash: "none" },
};
const outputSelection = { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object",
  "evm.deployedBytecode.immutableReferences", "storageLayout", "transientStorageLayout"] } };
const input = { language: "Solidity", sources, settings: { ...settings, outputSelection } };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
// 2394: every use of EIP-1153 is warned about; that the lane outlives the call within its transaction is its purpose
const problems = (output.errors ?? []).filter((e) => e.severity !== "info" && e.errorCode !== "2394");
for (const e of problems) console.error(e.formattedMessage);
if (problems.length) process.exit(1); // warnings too

// ids of the syntax tree change with unrelated sources; positions and names do not
const layout = (l) => (l?.storage ?? []).map((s) => ({ label: s.label, slot: s.slot, offset: s.offset,
  type: l.types[s.type].label }));
const out = process.argv[2] ?? join(here, "artifacts");
mkdirSync(out, { recursive: true });
const build = { compiler: solc.version(), settings, sources: sourceHashes };
writeFileSync(join(out, "build.json"), JSON.stringify(build, null, 1) + "\n");
for (const [file, contracts] of Object.entries(output.contracts)) {
  for (const [name, c] of Object.entries(contracts)) {
    const runtime = c.evm.deployedBytecode.object;
    if (runtime.length / 2 > MAX_RUNTIME_BYTES) throw new Error(`${name}: ${runtime.length / 2} bytes`);
    const artifact = {
      contract: name,
      source: file,
      abi: c.abi,
      bytecode: c.evm.bytecode.object,
      deployedBytecode: runtime,
      storage: layout(c.storageLayout),
      transient: layout(c.transientStorageLayout),
      immutables: Object.values(c.evm.deployedBytecode.immutableReferences ?? {}).flat().length,
    };
    if (c.abi.length) writeFileSync(join(out, `${name}.json`), JSON.stringify(artifact, null, 1) + "\n");
    if (c.abi.length) console.log(`${name.padEnd(24)} ${runtime.length / 2} bytes`);
  }
}
