/** Which headers a provider of authorization may write, whatever is listed, and which a caller may not: tables of names and lists. */
import t from "tap";
import {
  isWritable,
  listed,
  reserved,
} from "../../../src/policy/authorization/provider-headers.ts";

const NEVER: readonly string[] = [
  ...[":path", ":authority", ":status", ":method", ":scheme", ""],
  ...["host", "content-length", "transfer-encoding", "connection", "te"],
  ...["keep-alive", "proxy-connection", "upgrade", "http2-settings", "trailer"],
  ...["proxy-authenticate", "proxy-authorization", "expect"],
  ...["x-wherry-destination", "x-wherry-reason", "x-wherry-anything"],
  ...["x-forwarded-client-cert", "x_forwarded_client_cert"],
  ...["content_length", "transfer_encoding", "x_wherry_destination"],
  ...["grpc-status", "grpc-message", "a b", "a:b", "a\r\nb"],
];

const MAY: readonly string[] = [
  ...["x-user", "authorization", "cookie", "set-cookie", "location"],
  ...["x-forwarded-for", "x-auth-request-email", "www-authenticate"],
];

void t.test("names that no list lets through, and names that any may", (t) => {
  for (const name of NEVER) {
    t.notOk(isWritable(name), name);
    t.notOk(listed([name, `${name.slice(0, 3)}*`])(name), name);
  }
  for (const name of MAY) {
    t.ok(isWritable(name), name);
    t.ok(listed([name])(name), name);
  }
  t.end();
});

void t.test("how a list matches", (t) => {
  for (const [patterns, name, is] of [
    [[], "x-user", false],
    [["x-user"], "x-user", true],
    [["x-user"], "x-users", false],
    [["x-user"], "x_user", true],
    [["x_user"], "x-user", true],
    [["x_user"], "x_user", true],
    [["x_auth-*"], "x-auth_email", true],
    [["x-auth-*"], "x-auth-email", true],
    [["x-auth-*"], "x_auth_email", true],
    [["x-auth-*"], "y-x-auth-", false],
    [["*-id"], "x-user-id", true],
    [["*-id"], "x-user-ids", false],
  ] as const)
    t.equal(listed(patterns)(name), is, `${patterns.join()} ${name}`);
  t.end();
});

void t.test("what is taken out of what a caller said", (t) => {
  const named = ["x-user", "x_user", "x-team", "expect"].map((name) => ({
    name,
  }));
  for (const [patterns, stays, gone] of [
    [[], [], []],
    [["x-user"], [], ["x-user", "x_user"]],
    [["x-user"], ["x-user"], ["x_user"]],
    [["*r"], ["x-user", "x_user"], []],
    [["x-*", "expect"], [], ["x-user", "x_user", "x-team"]],
  ] as const)
    t.strictSame(
      [
        ...reserved(named, listed(patterns), (name) =>
          stays.some((each) => each === name),
        ),
      ],
      gone,
      patterns.join(),
    );
  t.end();
});
