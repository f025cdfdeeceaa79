/** The options of an external issuer of workload certificates. */
import type { Command } from "commander";
import type { IssuerSettings } from "../../control-plane/issuer/open-issuer.ts";
import { issuerUrl } from "../../control-plane/issuer/issuer-client.ts";
import { UserError } from "../../core/errors.ts";
import { option } from "../settings.ts";

export interface IssuerOptions {
  readonly issuer?: string;
  readonly issuerUrl?: string;
  readonly issuerRoots?: string;
  readonly issuerTokenFile?: string;
  readonly issuerLogin?: string;
  readonly issuerLoginFile?: string;
  readonly issuerLoginRole?: string;
  readonly issuerCa?: string;
  readonly issuerCertificate?: string;
  readonly issuerKey?: string;
}

type Server = NonNullable<IssuerSettings["server"]>;

export function withIssuer(command: Command): Command {
  const flags: readonly (readonly [string, string])[] = [
    [
      "--issuer-url <url>",
      "signing call of an external issuer of the workloads' certificates",
    ],
    [
      "--issuer <kind>",
      "what is at --issuer-url: http, the call of the guide (the default), or vault, sign/ROLE of a PKI of Vault",
    ],
    [
      "--issuer-roots <file>",
      "PEM roots of the external issuer, the one that it signs with first; followed",
    ],
    [
      "--issuer-token-file <file>",
      "bearer token for the issuer, or token of Vault; read for each call",
    ],
    [
      "--issuer-login <url>",
      "login of Vault, such as https://HOST/v1/auth/approle/login",
    ],
    [
      "--issuer-login-file <file>",
      "JSON that is sent to --issuer-login, or a JSON Web Token where --issuer-login-role is given",
    ],
    [
      "--issuer-login-role <name>",
      "role of Vault that a JSON Web Token logs in to, such as that of a Kubernetes account",
    ],
    [
      "--issuer-ca <file>",
      "PEM certificates of the authorities that the issuer's own certificate leads to; default: those of the system",
    ],
    ["--issuer-certificate <file>", "PEM client certificate for the issuer"],
    ["--issuer-key <file>", "PEM private key of --issuer-certificate"],
  ];
  for (const [flag, text] of flags) command.addOption(option(flag, text));
  return command;
}

/** Undefined: the authority of the state directory issues. Throws UserError. */
export function issuerOf(options: IssuerOptions): IssuerSettings | undefined {
  const { issuerRoots: rootsFile, issuerUrl: url, ...rest } = options;
  if (url === undefined) {
    const [name] = namesOf(rest);
    if (name !== undefined)
      throw new UserError(`--${name} needs --issuer-url and --issuer-roots`);
    return rootsFile === undefined ? undefined : { rootsFile };
  }
  if (rootsFile === undefined)
    throw new UserError(
      "--issuer-url needs --issuer-roots: no response of the issuer says what is to be trusted",
    );
  return { rootsFile, server: serverOf(url, options) };
}

function serverOf(url: string, options: IssuerOptions): Server {
  const { issuerCa, issuerCertificate, issuerKey } = options;
  if ((issuerCertificate === undefined) !== (issuerKey === undefined))
    throw new UserError(
      "--issuer-certificate and --issuer-key belong together",
    );
  return {
    url: issuerUrl(url, "--issuer-url"),
    access: accessOf(options),
    ...(issuerCa === undefined ? {} : { caFile: issuerCa }),
    ...(issuerCertificate === undefined || issuerKey === undefined
      ? {}
      : { certificateFile: issuerCertificate, keyFile: issuerKey }),
  };
}

function accessOf(options: IssuerOptions): Server["access"] {
  const { issuer = "http", issuerTokenFile: tokenFile, issuerLogin } = options;
  const { issuerLoginFile: file, issuerLoginRole: role } = options;
  if (issuer === "http") {
    if (issuerLogin !== undefined || file !== undefined || role !== undefined)
      throw new UserError("--issuer-login is for --issuer vault");
    if (tokenFile === undefined && options.issuerCertificate === undefined)
      throw new UserError(
        "--issuer-url needs --issuer-token-file or --issuer-certificate: an issuer that signs for everybody proves nothing",
      );
    return { kind: "http", tokenFile };
  }
  if (issuer !== "vault")
    throw new UserError(`invalid --issuer ${issuer}: expected http or vault`);
  if (tokenFile !== undefined && issuerLogin === undefined)
    return { kind: "vault", by: { kind: "token", file: tokenFile } };
  if (
    issuerLogin === undefined ||
    file === undefined ||
    tokenFile !== undefined
  )
    throw new UserError(
      "--issuer vault needs either --issuer-token-file, or --issuer-login and --issuer-login-file",
    );
  return {
    kind: "vault",
    by: {
      kind: "login",
      url: issuerUrl(issuerLogin, "--issuer-login"),
      file,
      ...(role === undefined ? {} : { role }),
    },
  };
}

/** Long names of the issuer's options that are given. */
function namesOf(options: object): readonly string[] {
  return Object.entries(options)
    .filter(([name, value]) => name.startsWith("issuer") && value !== undefined)
    .map(([name]) =>
      name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
    );
}
