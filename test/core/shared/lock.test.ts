/** A lock that threads share: one at a time, and none for ever. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { lock, unlock } from "../../../src/core/shared/lock.ts";

void t.test(
  "a lock is taken by one at a time, and from one who is no more",
  async (t) => {
    const words = new Int32Array(new SharedArrayBuffer(8));
    lock(words, 0);
    unlock(words, 0);
    lock(words, 0);
    // Its holder ended without giving it back: whoever waits gets it after a second.
    const thread = new Worker(
      `const { workerData, parentPort } = require("node:worker_threads");
     import(workerData.module).then(({ lock }) => { lock(workerData.words, 0); parentPort.postMessage("taken"); });`,
      {
        eval: true,
        workerData: {
          words,
          module: new URL("../../../src/core/shared/lock.ts", import.meta.url)
            .href,
        },
      },
    );
    t.same(await once(thread, "message"), ["taken"]);
  },
);
