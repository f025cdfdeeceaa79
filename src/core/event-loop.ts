/** The event loop of a thread, libuv's: what Node has switched on in it for those who ask, and a sidecar does not. */
import { foreign, nativeFunction } from "./native.ts";

/** Octets from the beginning of a `uv_loop_t` to its `internal_fields`; a public struct, since programs have loops of their own (uv.h). For pointers of 64 bits. */
const INTERNAL_FIELDS = 40;
/** UV_METRICS_IDLE_TIME. Flags are the first of the internal fields (uv-common.h), and Node sets this one alone. */
const MEASURES_IDLE_TIME = 1;
const MACHINES = ["x64", "arm64"];

/**
 * Node has each loop measure how long it waits for events, for `performance.eventLoopUtilization`. Therefore libuv asks the kernel twice
 * wherever it has to wait: first whether there is anything already. A call that is alone is waited for four times in a pair of
 * sidecars. There is a function to begin with that, none to end it, so the flag is taken back by hand; only where
 * what is there is what Node put there. For the loop of this thread; whether it was done.
 */
export function stopMeasuringIdleTime(): boolean {
  if (!MACHINES.includes(process.arch)) return false;
  try {
    // v8::Isolate::GetCurrent() and node::GetCurrentEventLoop(v8::Isolate*), for programs that embed Node.
    const isolate = nativeFunction("void *_ZN2v87Isolate10GetCurrentEv()")?.();
    const loop = nativeFunction(
      "void *_ZN4node19GetCurrentEventLoopEPN2v87IsolateE(void *isolate)",
    )?.(isolate);
    const koffi = foreign();
    const fields: unknown = koffi.decode(loop, INTERNAL_FIELDS, "void *");
    if (koffi.decode(fields, "uint32_t") !== MEASURES_IDLE_TIME) return false;
    koffi.encode(fields, "uint32_t", 0);
    return true;
  } catch {
    return false;
  }
}
