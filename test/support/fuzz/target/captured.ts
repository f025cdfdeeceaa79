/** Preloaded into the sidecars under test: connections from 127.200.0.0/16 count as redirected by a packet rule, which a test cannot have without namespaces. */
import { registerHooks, type ModuleSource } from "node:module";

const REAL = "export function originalDestination(";
const STUB = `
export function originalDestination(socket: Socket): Destination | undefined {
  return (socket.remoteAddress ?? "").includes("127.200.")
    ? { address: "127.0.0.1", port: Number(process.env["WHERRY_FUZZ_APP_PORT"]) }
    : realDestination(socket);
}
`;

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (!url.endsWith("/src/wire/original-destination.ts")) return loaded;
    const text = textOf(loaded.source);
    if (!text.includes(REAL)) throw new Error(`${url} has no ${REAL}`);
    return {
      ...loaded,
      source: text.replace(REAL, "function realDestination(") + STUB,
    };
  },
});

function textOf(source: ModuleSource | undefined): string {
  return typeof source === "string"
    ? source
    : new TextDecoder().decode(source ?? new Uint8Array());
}
