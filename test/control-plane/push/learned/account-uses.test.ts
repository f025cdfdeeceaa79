import t from "tap";
import {
  AccountUses,
  FORGOTTEN_AFTER,
  MOST_SERVICES,
  REWRITTEN_AFTER,
} from "../../../../src/control-plane/push/learned/account-uses.ts";

const START = Date.UTC(2026, 0, 1);
const always = (): boolean => true;

void t.test("the Service used last comes first, each once", (t) => {
  const uses = new AccountUses();
  uses.note("shop/a", START);
  uses.note("shop/b", START + 1);
  uses.note("shop/a", START + 2);
  t.same(uses.known(START + 2), ["shop/a", "shop/b"]);
  t.equal(uses.newest, START + 2);
  t.end();
});

void t.test("what was not used for seven days is not known any more", (t) => {
  const uses = new AccountUses();
  uses.note("shop/a", START);
  uses.note("shop/b", START + 1);
  t.same(uses.known(START + FORGOTTEN_AFTER - 1), ["shop/b", "shop/a"]);
  t.same(uses.known(START + FORGOTTEN_AFTER), ["shop/b"]);
  uses.written(START);
  uses.forget(START + FORGOTTEN_AFTER - 1, always);
  t.equal(uses.size, 2);
  t.equal(uses.isUnwritten, false, "nothing went");
  uses.forget(START + FORGOTTEN_AFTER, always);
  t.equal(uses.size, 1);
  t.equal(uses.isUnwritten, true);
  t.end();
});

void t.test("a Service that is not there any more is dropped", (t) => {
  const uses = new AccountUses();
  uses.note("shop/a", START);
  uses.note("shop/b", START);
  uses.forget(START, (service) => service === "shop/b");
  t.same(uses.known(START), ["shop/b"]);
  t.end();
});

void t.test("of too many the one whose last use is longest ago goes", (t) => {
  const uses = new AccountUses();
  for (let number = 0; number < MOST_SERVICES; number += 1)
    uses.note(`shop/s${number}`, START + number);
  uses.note("shop/s0", START + 5000);
  uses.note("shop/more", START + 5001);
  const known = uses.known(START + 5001);
  t.equal(known.length, MOST_SERVICES);
  t.same(known.slice(0, 2), ["shop/more", "shop/s0"]);
  t.notOk(known.includes("shop/s1"));
  t.end();
});

void t.test("it is to be written when it knows more, or much later", (t) => {
  const uses = new AccountUses();
  uses.note("shop/a", START);
  t.equal(uses.isUnwritten, true, "a Service more");
  uses.written(START);
  uses.note("shop/a", START + REWRITTEN_AFTER - 1);
  t.equal(uses.isUnwritten, false, "the same Service again");
  uses.note("shop/a", START + REWRITTEN_AFTER);
  t.equal(uses.isUnwritten, true, "what is written is old");
  uses.written(START + REWRITTEN_AFTER);
  uses.note("shop/b", START + REWRITTEN_AFTER);
  t.equal(uses.isUnwritten, true);
  t.end();
});

void t.test("what was written is read again", (t) => {
  const uses = new AccountUses();
  uses.note("shop/b", START + 1);
  uses.note("shop/a", START);
  const read = AccountUses.read(uses.text, START + 10);
  t.same(read?.known(START + 10), ["shop/b", "shop/a"]);
  t.equal(read?.isUnwritten, false);
  read?.note("shop/a", START + REWRITTEN_AFTER);
  t.equal(read?.isUnwritten, false);
  read?.note("shop/a", START + 1 + REWRITTEN_AFTER);
  t.equal(read?.isUnwritten, true);
  t.end();
});

void t.test("a use in the future is one of now", (t) => {
  const read = AccountUses.read(
    JSON.stringify({ "shop/a": START + 30 * FORGOTTEN_AFTER }),
    START,
  );
  t.same(read?.known(START), ["shop/a"]);
  t.same(read?.known(START + FORGOTTEN_AFTER), []);
  t.end();
});

void t.test("a text of another shape is none", (t) => {
  for (const text of ["", "{", "null", "1", '{"shop/a":"x"}', '["x"]'])
    t.equal(AccountUses.read(text, START), undefined, text);
  t.same(AccountUses.read("{}", START)?.known(START), []);
  t.end();
});
