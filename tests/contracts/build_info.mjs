// Writes what a static analyser needs of the contracts: sources and syntax trees, no code, so that it takes seconds.
// usage: node tests/contracts/build_info.mjs SOURCES OUTFILE   (solc is resolved from NODE_PATH)
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

const [root, out] = process.argv.slice(2);
const require = createRequire(join(process.cwd(), "package.json"));
const solc = require("solc");
const names = readdirSync(root, { recursive: true }).filter((name) => name.endsWith(".sol")).sort();
const sources = Object.fromEntries(names.map((name) => [name, { content: readFileSync(join(root, name), "utf8") }]));
const settings = { evmVersion: "cancun", viaIR: true, outputSelection: { "*": { "*": ["abi"], "": ["ast"] } } };
const input = { language: "Solidity", sources, settings };
const output = JSON.parse(solc.compile(JSON.stringify(input)));
const failed = (output.errors ?? []).filter((e) => e.severity === "error");
for (const e of failed) console.error(e.formattedMessage);
if (failed.length) process.exit(1);
const empty = { object: "", sourceMap: "", opcodes: "", linkReferences: {} };
for (const file of Object.values(output.contracts))
  for (const contract of Object.values(file)) contract.evm = { bytecode: empty, deployedBytecode: empty };
const version = solc.version().split("+")[0];
mkdirSync(dirname(out), { recursive: true });
writeFileSync(out, JSON.stringify({ _format: "hh-sol-build-info-1", id: "all", solcVersion: version, solcLongVersion: solc.version(), input, output }));
