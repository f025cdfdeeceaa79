/** What becomes of the headers of a provider's answer, by its lists: a table. */
import t from "tap";
import { HeaderRules } from "../../../src/proxy/checks/providers/answer.ts";
import { providersOf } from "../../../src/resources/mesh/providers.ts";

void t.test("what becomes of an answer", (t) => {
  const [provider] = providersOf([
    {
      ...{ name: "opa", grpc: { address: "127.0.0.1:1" } },
      headersToApplication: ["X-A", "x-b"],
      headersToCallerOnAllow: ["set-cookie"],
      headersToCallerOnDeny: ["x-why", "content-l*"],
    },
  ]);
  if (provider === undefined) throw new Error("there is no provider");
  const rules = new HeaderRules(provider);
  const write = (
    name: string,
    value: string,
    append = false,
  ): { name: string; value: string; append: boolean } => ({
    name,
    value,
    append,
  });
  t.match(
    rules.allowed(
      [
        write("x-a", "1"),
        write("X-A", "2"),
        write("x-b", "3", true),
        write("x-c", "4"),
      ],
      [write("set-cookie", "a", true), write("x-a", "1", true)],
      ["Cookie", "x-a", "host", "x-wherry-destination"],
    ),
    {
      request: {
        set: [{ name: "x-a", value: "2" }],
        add: [{ name: "x-b", value: "3" }],
        remove: new Set(["cookie"]),
      },
      response: { set: [], add: [{ name: "set-cookie", value: "a" }] },
    },
  );
  for (const value of ["a\r\nb", "a\0", "snow\u2603"])
    t.match(rules.allowed([write("x-a", value)], []), { kind: "failed" });
  for (const [bytes, kind] of [
    [16_000, "allowed"],
    [16_500, "failed"],
  ] as const) {
    const list = [write("x-a", "x".repeat(bytes))];
    t.match(rules.allowed(list, []), { kind });
    t.match(rules.allowed(list, list), { kind }, "HTTP has one list for both");
  }
  const page = Buffer.from("no");
  t.same(
    rules.denied(
      401,
      [
        write("Content-Type", "text/html"),
        write("Content-Encoding", "gzip"),
        write("content-language", "en"),
        write("content-length", "2"),
        write("x-why", "1"),
        write("set-cookie", "a=1"),
      ],
      page,
    ),
    {
      kind: "denied",
      status: 401,
      fields: [
        ["content-type", "text/html"],
        ["content-encoding", "gzip"],
        ["content-language", "en"],
        ["x-why", "1"],
      ],
      body: page,
    },
  );
  for (const name of ["content-type", "content-encoding", "content-language"])
    t.match(
      rules.denied(
        401,
        [write(name, "a"), write("x-why", "1")],
        Buffer.alloc(70_000),
      ),
      { fields: [["x-why", "1"]], body: undefined },
      `a page that is too long is left out, with its ${name}`,
    );
  t.match(
    rules.denied(401, [write("x-why", "a\r\nb")], page),
    { kind: "denied", fields: [], body: page },
    "a denial stays one",
  );
  for (const [says, gets] of [
    [0, undefined],
    [200, undefined],
    [299, undefined],
    [302, 302],
    [599, 599],
    [600, undefined],
    [-1, undefined],
  ] as const)
    t.equal(rules.denied(says, [], undefined).status, gets, String(says));
  t.end();
});
