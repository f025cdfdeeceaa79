/** Getting certificates: by the token the first time, by the certificate in use after that; the key is made here each time and never leaves. */
import type { Clock } from "../../core/clock.ts";
import { UserError } from "../../core/errors.ts";
import {
  loadCredentials,
  type Credentials,
} from "../../identity/credentials.ts";
import { createCsr, generatePrivateKey } from "../../identity/x509.ts";
import type { IssueResponse } from "../../push/messages.ts";
import { ENROLMENT } from "../../push/services.ts";
import { parseToken } from "../../push/token.ts";
import { call, openClient } from "../connection.ts";
import { findRoot } from "./first-contact.ts";

export interface IssueOptions {
  /** "HOST:PORT" of the control plane. */
  readonly address: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const TIMEOUT = 15_000;
/** Bytes of an answer: a chain and a bundle. */
const LONGEST_ANSWER = 2 * 1024 * 1024;

export function unreadableToken(): UserError {
  return new UserError(
    "the enrolment token (--token or --token-file) is not one (wherry1.…): give the whole text that `wherry token create` printed",
  );
}

/** `name`: the instance name to ask for; "" leaves it to the control plane. */
export async function enrol(
  options: IssueOptions & { readonly token: string; readonly name: string },
): Promise<Credentials> {
  const { address, clock, signal, token, name } = options;
  const parsed = parseToken(token);
  if (parsed === undefined) throw unreadableToken();
  const trustBundle = await findRoot({
    ...splitAddress(address),
    fingerprint: parsed.ca,
    clock,
    signal,
  });
  const client = openClient({
    address,
    trustBundle,
    clock,
    maxMessageBytes: LONGEST_ANSWER,
  });
  try {
    const privateKey = generatePrivateKey();
    const request = { token, csr: createCsr(privateKey), name };
    return load(
      privateKey,
      await call(client, ENROLMENT.Enrol, request, {
        clock,
        timeout: TIMEOUT,
        signal,
      }),
      clock,
    );
  } finally {
    client.close();
  }
}

export async function renew(
  options: IssueOptions & { readonly credentials: Credentials },
): Promise<Credentials> {
  const { address, clock, signal, credentials } = options;
  const client = openClient({
    address,
    trustBundle: credentials.trustBundle,
    credentials,
    clock,
    maxMessageBytes: LONGEST_ANSWER,
  });
  try {
    const privateKey = generatePrivateKey();
    const renewed = load(
      privateKey,
      await call(
        client,
        ENROLMENT.Renew,
        { csr: createCsr(privateKey) },
        { clock, timeout: TIMEOUT, signal },
      ),
      clock,
    );
    if (renewed.id !== credentials.id)
      throw new Error(`the control plane sent a certificate for ${renewed.id}`);
    return renewed;
  } finally {
    client.close();
  }
}

function load(
  privateKey: string,
  { certificateChain, trustBundle }: IssueResponse,
  clock: Clock,
): Credentials {
  return loadCredentials(
    { certificateChain, trustBundle, privateKey },
    clock.wall(),
  );
}

/** Throws UserError. */
export function splitAddress(address: string): { host: string; port: number } {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || port === undefined)
    throw new UserError(
      `invalid control plane address "${address}": expected HOST:PORT, such as control-plane:15012 or [::1]:15012`,
    );
  return { host, port: Number(port) };
}
