/** Which options of an external issuer belong together. */
import { Command } from "commander";
import t from "tap";
import {
  issuerOf,
  withIssuer,
  type IssuerOptions,
} from "../../../src/cli/control-plane/issuer-options.ts";
import type { IssuerSettings } from "../../../src/control-plane/issuer/open-issuer.ts";

function read(text: string): IssuerSettings | undefined {
  const command = withIssuer(new Command()).exitOverride();
  command.parse(
    text.split(" ").filter((each) => each !== ""),
    {
      from: "user",
    },
  );
  return issuerOf(command.opts<IssuerOptions>());
}

const URL_AND_ROOTS = "--issuer-url https://ca.test/sign --issuer-roots r.pem";

void t.test("what is right", (t) => {
  const url = new URL("https://ca.test/sign");
  const rows: Readonly<Record<string, object | undefined>> = {
    "": undefined,
    "--issuer-roots r.pem": { rootsFile: "r.pem" },
    [`${URL_AND_ROOTS} --issuer-token-file t`]: {
      rootsFile: "r.pem",
      server: { url, access: { kind: "http", tokenFile: "t" } },
    },
    [`${URL_AND_ROOTS} --issuer-certificate c --issuer-key k --issuer-ca a`]: {
      rootsFile: "r.pem",
      server: {
        url,
        access: { kind: "http", tokenFile: undefined },
        ...{ caFile: "a", certificateFile: "c", keyFile: "k" },
      },
    },
    [`${URL_AND_ROOTS} --issuer vault --issuer-token-file t`]: {
      rootsFile: "r.pem",
      server: {
        url,
        access: { kind: "vault", by: { kind: "token", file: "t" } },
      },
    },
    [`${URL_AND_ROOTS} --issuer vault --issuer-login https://ca.test/login --issuer-login-file f --issuer-login-role w`]:
      {
        rootsFile: "r.pem",
        server: {
          url,
          access: {
            kind: "vault",
            by: {
              kind: "login",
              url: new URL("https://ca.test/login"),
              ...{ file: "f", role: "w" },
            },
          },
        },
      },
  };
  for (const [text, expected] of Object.entries(rows))
    t.same(read(text), expected, text);
  t.end();
});

void t.test("what is not", (t) => {
  const rows: Readonly<Record<string, RegExp>> = {
    "--issuer-token-file t": /--issuer-token-file needs --issuer-url/,
    "--issuer-roots r --issuer vault": /--issuer needs --issuer-url/,
    "--issuer-url https://ca.test/": /needs --issuer-roots/,
    [URL_AND_ROOTS]: /needs --issuer-token-file or --issuer-certificate/,
    [`${URL_AND_ROOTS} --issuer-certificate c`]: /belong together/,
    [`${URL_AND_ROOTS} --issuer-key k`]: /belong together/,
    [`${URL_AND_ROOTS} --issuer spire --issuer-token-file t`]:
      /invalid --issuer spire: expected http or vault/,
    [`${URL_AND_ROOTS} --issuer-token-file t --issuer-login-file f`]:
      /--issuer-login is for --issuer vault/,
    [`${URL_AND_ROOTS} --issuer vault`]: /needs either --issuer-token-file/,
    [`${URL_AND_ROOTS} --issuer vault --issuer-login https://ca.test/`]:
      /needs either --issuer-token-file/,
    [`${URL_AND_ROOTS} --issuer vault --issuer-login http://ca.test/ --issuer-login-file f`]:
      /invalid --issuer-login/,
    "--issuer-url http://ca.test/ --issuer-roots r --issuer-token-file t":
      /expected https/,
  };
  for (const [text, message] of Object.entries(rows))
    t.throws(() => read(text), { name: "UserError", message }, text);
  t.end();
});
