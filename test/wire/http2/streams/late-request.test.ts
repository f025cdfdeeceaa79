/** A request that waits for the peer's SETTINGS loses nothing of what is asked of it meanwhile. */
import t from "tap";
import { MeshError } from "../../../../src/mesh/errors.ts";
import { LateRequest } from "../../../../src/wire/http2/streams/late-request.ts";

function late(): {
  request: LateRequest;
  seen: string[];
} {
  const seen: string[] = [];
  const note = (what: string) => (): void => void seen.push(what);
  const request = new LateRequest(
    {
      informational: note("informational"),
      head: note("head"),
      data: note("data"),
      end: note("end"),
      abort: note("aborted"),
      drained: note("drained"),
    },
    () => {
      seen.push("requested");
      return {
        write: (chunk) => {
          seen.push(`write ${chunk.toString()}`);
          return true;
        },
        end: note("end"),
        abort: note("abort"),
        pause: note("pause"),
        resume: note("resume"),
      };
    },
  );
  return { request, seen };
}

void t.test("what was asked is done in its order", (t) => {
  const { request, seen } = late();
  t.equal(request.write(Buffer.from("a")), false, "one piece, and no more");
  request.pause();
  request.end();
  t.strictSame(seen, []);
  request.open();
  t.strictSame(seen, ["requested", "write a", "pause", "end"]);
  t.end();
});

void t.test("from then on it is the request itself", (t) => {
  const { request, seen } = late();
  request.write(Buffer.from("a"));
  request.pause();
  request.resume();
  request.open();
  t.strictSame(seen, ["requested", "write a", "drained"]);
  seen.length = 0;
  t.equal(request.write(Buffer.from("b")), true);
  request.pause();
  request.resume();
  request.end();
  request.abort(new MeshError("CLIENT_CLOSED", ""));
  t.strictSame(seen, ["write b", "pause", "resume", "end", "abort"]);
  t.end();
});

void t.test("what was broken off is never sent", (t) => {
  const { request, seen } = late();
  request.abort(new MeshError("CLIENT_CLOSED", ""));
  request.open();
  t.strictSame(seen, []);
  t.end();
});
