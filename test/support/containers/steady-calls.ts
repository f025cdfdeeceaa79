/** A process that calls at a steady rate until its standard input ends, and then prints what became of the calls. */
import { call, closeCalls } from "../peers/call.ts";

const [rate = "200", ...targets] = process.argv.slice(2);
/** Calls at once that are not exceeded: a machine that is too slow for the rate is not to be buried. */
const MOST = 400;
const failed: string[] = [];
let sent = 0;
let done = 0;
let left = 0;

const timer = setInterval(
  () => {
    if (sent - done >= MOST) {
      left += 1;
      return;
    }
    const [host = "", path = "/"] = (
      targets[sent % targets.length] ?? ""
    ).split(/(?=\/)/, 2);
    sent += 1;
    void call(`http://127.0.0.1:15001${path}`, { headers: { host } }).then(
      ({ status, text }) => {
        done += 1;
        if (status !== 200) failed.push(`${host}${path} ${status} ${text}`);
      },
    );
  },
  1000 / Number(rate),
);

process.stdin.resume();
process.stdin.on("end", () => {
  clearInterval(timer);
  const ending = setInterval(() => {
    if (done < sent) return;
    clearInterval(ending);
    closeCalls();
    process.stdout.write(JSON.stringify({ sent, left, failed }));
  }, 10);
});
