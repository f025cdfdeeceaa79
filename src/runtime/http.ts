/**
 * `node:http` at its own price. An `import` of it reads every name that it exports, and some of those are the browser's classes,
 * which load Node's own undici: 15 MiB and 50 ms in a process that wants a server.
 */
import type * as nodeHttp from "node:http";

export const http: typeof nodeHttp = process.getBuiltinModule("node:http");
