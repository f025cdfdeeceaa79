/** Where the thread of the store begins: it opens the file, and makes one call after the other. A slow disk holds this thread alone. */
import { parentPort, workerData } from "node:worker_threads";
import type { Call, Reply } from "./database-client.ts";
import { Database, type DatabaseOptions } from "./database.ts";
import { StoreError } from "./store.ts";

const port = parentPort;
if (port === null) throw new Error("this file is the beginning of a thread");

let database: Database | undefined;
// Given by `DatabaseClient.open`.
const options = workerData as DatabaseOptions;
reply(() => {
  database = new Database(options);
  return database.loaded;
});

port.on("message", (call: Call) => reply(() => make(call)));

function make(call: Call): unknown {
  if (database === undefined) throw new StoreError("the store is not open");
  switch (call.name) {
    case "commit":
      return database.commit(...call.args);
    case "setNotes":
      database.setNotes(...call.args);
      return undefined;
    case "probe":
      database.probe();
      return undefined;
    case "note":
      return database.note(...call.args);
    case "notes":
      return database.notes(...call.args);
    case "audited":
      return database.audited(...call.args);
    case "changes":
      return database.changes(...call.args);
    case "close":
      database.close();
      return undefined;
  }
}

function reply(run: () => unknown): void {
  port?.postMessage(replyOf(run));
}

/** A message keeps of an error its text alone. */
function replyOf(run: () => unknown): Reply {
  try {
    return { result: run() };
  } catch (thrown) {
    if (!(thrown instanceof StoreError)) return { defect: thrown };
    const { message, code, damaged } = thrown;
    return { store: { message, code, damaged } };
  }
}
