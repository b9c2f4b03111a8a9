// Recompiles Probe.sol into Probe.json. Needs npm's solc 0.8.37:  node tests/integration/chain/contracts/compile.js
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const source = fs.readFileSync(path.join(__dirname, "Probe.sol"), "utf8");
const output = JSON.parse(solc.compile(JSON.stringify({
  language: "Solidity",
  sources: { "Probe.sol": { content: source } },
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none", appendCBOR: false },
    outputSelection: { "*": { Probe: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
})));
for (const each of output.errors || []) console.error(each.formattedMessage);
const probe = output.contracts["Probe.sol"].Probe;
fs.writeFileSync(path.join(__dirname, "Probe.json"), JSON.stringify({
  compiler: solc.version(), abi: probe.abi, bytecode: "0x" + probe.evm.bytecode.object,
}, null, 1) + "\n");
