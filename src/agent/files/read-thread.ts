/** Where a thread begins that reads resource files once. */
import { parentPort, workerData } from "node:worker_threads";
import { readResources, type ReadRequest } from "./read-resources.ts";

const read = await readResources(workerData as ReadRequest);
parentPort?.postMessage(read);
