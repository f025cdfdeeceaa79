/** Which errors are this machine's, and say nothing of what was asked. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import t from "tap";
import { isOfTheMachine } from "../../../src/core/machine/again.ts";

function failure(code: string): Error {
  return Object.assign(new Error(code), { code });
}

void t.test("errors of the machine, and errors of others", (t) => {
  for (const code of [
    ...["EAGAIN", "EINTR", "EIO", "EMFILE", "ENFILE", "ENOMEM"],
    ...["EDQUOT", "EFBIG", "ENOSPC", "EROFS"],
    ...["EADDRNOTAVAIL", "EAI_AGAIN", "EAI_MEMORY", "ENOBUFS"],
  ])
    t.equal(isOfTheMachine(failure(code)), true, code);
  for (const code of [
    ...["ECONNREFUSED", "ECONNRESET", "EHOSTUNREACH", "ENETUNREACH"],
    ...["ENOTFOUND", "EPIPE", "ETIMEDOUT", "EACCES", "ENOENT"],
    "ERR_SSL_WRONG_VERSION_NUMBER",
  ])
    t.equal(isOfTheMachine(failure(code)), false, code);
  for (const thrown of [new Error("EMFILE"), "EMFILE", undefined])
    t.equal(isOfTheMachine(thrown), false);
  t.end();
});

void t.test("a name with several addresses: each of them counts", (t) => {
  const rows: readonly [readonly string[], boolean][] = [
    [["EMFILE", "EMFILE"], true],
    // Where there is no IPv6, the first address cannot even be tried.
    [["EADDRNOTAVAIL", "ECONNREFUSED"], false],
    [["ECONNREFUSED", "EMFILE"], false],
    [[], false],
  ];
  for (const [codes, expected] of rows) {
    const error = new AggregateError(codes.map(failure));
    // As Node has it: the code of the first.
    const whole = Object.assign(error, { code: codes[0] });
    t.equal(isOfTheMachine(whole), expected, codes.join(" "));
  }
  t.end();
});

void t.test("a process that has nothing else to do waits for it", (t) => {
  const core = join(import.meta.dirname, "../../../src/core");
  const { status, stdout } = spawnSync(
    process.execPath,
    [
      "--input-type=module",
      "--eval",
      `import { again } from "${core}/machine/again.ts";
       import { systemClock } from "${core}/clock.ts";
       let tries = 0;
       await again(systemClock, async () => {
         tries += 1;
         if (tries < 3) throw Object.assign(new Error(), { code: "EMFILE" });
       });
       console.log(tries);`,
    ],
    { encoding: "utf8", env: {} },
  );
  t.equal(stdout, "3\n");
  t.equal(status, 0);
  t.end();
});
