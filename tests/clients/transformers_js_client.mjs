// Loads an exported folder with transformers.js and runs it: a JSON question on standard input, a JSON answer on
// standard output. Question: `folder`; `loader`, the name of a class; `inputs`, rows of whole numbers by name; and
// `generate`, the arguments of `generate`, or null for one plain call. Answer: every output as nested lists by name;
// what `generate` wrote is called `tokens`.
import { readFileSync, writeSync } from "node:fs";
import { basename, dirname } from "node:path";
import * as transformers from "@huggingface/transformers";

const { env, Tensor } = transformers;
const question = JSON.parse(readFileSync(0, "utf8"));
env.allowRemoteModels = false;
env.localModelPath = dirname(question.folder);

const tensor = (rows) =>
  new Tensor("int64", BigInt64Array.from(rows.flat(), BigInt), [rows.length, rows[0].length]);
const inputs = Object.fromEntries(Object.entries(question.inputs).map(([name, rows]) => [name, tensor(rows)]));

// It looks in `onnx/` of a model repository, unless it is told that the folder holds the files themselves.
const model = await transformers[question.loader].from_pretrained(basename(question.folder), {
  subfolder: "",
  dtype: "fp32",
  device: "cpu",
});
const outputs = question.generate
  ? { tokens: await model.generate({ ...inputs, ...question.generate }) }
  : await model(inputs);
// A token is a 64-bit number, which JSON.stringify refuses.
const number = (_, value) => (typeof value === "bigint" ? Number(value) : value);
const lists = Object.fromEntries(Object.entries(outputs).map(([name, value]) => [name, value.tolist()]));
writeSync(1, JSON.stringify(lists, number));
