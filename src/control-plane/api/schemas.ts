/** The JSON schemas of what the API takes and gives besides the kinds' own; they are the documentation and the validation. */
import Type, { type TSchema } from "typebox";
import {
  CLOSED,
  DNS_LABEL,
  DNS_NAME,
  DURATION,
  LABEL_KEY,
  LABEL_VALUE,
} from "../../resources/schema-parts.ts";
import { API_REASONS } from "./errors.ts";

/** Names of the schemas in the document's components. */
export const STATUS = { $ref: "Status#" };

const WALL = Type.Integer({ description: "milliseconds since the Unix epoch" });
const TIMESTAMP = Type.String({
  format: "date-time",
  description: "an RFC 3339 time",
});

export const CAUSES: TSchema = Type.Array(
  Type.Object(
    {
      field: Type.String({
        description:
          'the path of the field, such as "spec.rules[0].timeouts.request"; "" for the whole',
      }),
      message: Type.String(),
    },
    CLOSED,
  ),
);

export const STATUS_SCHEMA: TSchema = Type.Object(
  {
    kind: Type.Literal("Status"),
    apiVersion: Type.Literal("v1"),
    status: Type.Union([Type.Literal("Success"), Type.Literal("Failure")]),
    code: Type.Integer(),
    reason: Type.Optional(Type.Enum(Object.keys(API_REASONS))),
    message: Type.String(),
    details: Type.Optional(
      Type.Object(
        {
          causes: CAUSES,
        },
        CLOSED,
      ),
    ),
  },
  { $id: "Status", ...CLOSED },
);

export interface EnrolmentTokenBody {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly ttl?: string;
  readonly uses?: number;
  readonly addresses?: readonly string[];
  readonly name?: string;
}

/** What a token is good for where the request does not say: one sidecar, within an hour. */
export const ENROLMENT_DEFAULTS = { ttl: "1h", uses: 1 } as const;

export const ENROLMENT_TOKEN_BODY: TSchema = Type.Object(
  {
    namespace: Type.String(DNS_LABEL),
    serviceAccount: Type.String(DNS_NAME),
    labels: Type.Optional(
      Type.Record(Type.String(), Type.String(LABEL_VALUE), {
        propertyNames: LABEL_KEY,
        maxProperties: 64,
      }),
    ),
    addresses: Type.Optional(
      Type.Array(
        Type.String({
          pattern: "^[0-9A-Fa-f.:]{2,45}(/[0-9]{1,3})?$",
          description: "an IP address or a CIDR range",
        }),
        {
          minItems: 1,
          maxItems: 16,
          description:
            "addresses that the instances may register, besides the one that they call the control plane from",
        },
      ),
    ),
    name: Type.Optional(
      Type.String({
        ...DNS_NAME,
        description: "the one instance name that the token gives",
      }),
    ),
    ttl: Type.Optional(
      Type.String({ ...DURATION, default: ENROLMENT_DEFAULTS.ttl }),
    ),
    uses: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        default: ENROLMENT_DEFAULTS.uses,
      }),
    ),
  },
  CLOSED,
);

export interface ApiTokenBody {
  readonly role: "admin" | "editor" | "viewer";
  readonly namespaces?: readonly string[];
  readonly ttl?: string;
}

export const API_TOKEN_BODY: TSchema = Type.Object(
  {
    role: Type.Union([
      Type.Literal("admin"),
      Type.Literal("editor"),
      Type.Literal("viewer"),
    ]),
    namespaces: Type.Optional(
      Type.Array(Type.String(DNS_LABEL), {
        minItems: 1,
        maxItems: 256,
        description: "the namespaces that it is for; absent: all",
      }),
    ),
    ttl: Type.Optional(
      Type.String({ ...DURATION, description: "absent: it does not expire" }),
    ),
  },
  CLOSED,
);

export const MADE_TOKEN: TSchema = Type.Object(
  {
    id: Type.String({ description: "names it for revocation" }),
    token: Type.String({ description: "the secret text, shown this once" }),
    expiresAt: Type.Optional(TIMESTAMP),
  },
  CLOSED,
);

export const TOKEN_LIST: TSchema = Type.Object(
  {
    items: Type.Array(
      Type.Union([
        Type.Object(
          {
            kind: Type.Literal("ApiToken"),
            id: Type.String(),
            role: Type.String(),
            namespaces: Type.Optional(Type.Array(Type.String())),
            createdAt: TIMESTAMP,
            expiresAt: Type.Optional(TIMESTAMP),
          },
          CLOSED,
        ),
        Type.Object(
          {
            kind: Type.Literal("EnrolmentToken"),
            id: Type.String(),
            namespace: Type.String(),
            serviceAccount: Type.String(),
            labels: Type.Record(Type.String(), Type.String()),
            addresses: Type.Optional(Type.Array(Type.String())),
            name: Type.Optional(Type.String()),
            usesLeft: Type.Integer(),
            createdAt: TIMESTAMP,
            expiresAt: TIMESTAMP,
          },
          CLOSED,
        ),
      ]),
    ),
  },
  CLOSED,
);

export interface StoreBody {
  readonly id: string;
  readonly revision: number;
  readonly kind: "memory" | "sqlite";
  readonly accepted: boolean;
}

export const STORE_BODY: TSchema = Type.Object(
  {
    id: Type.String({ description: "the UUID of this history" }),
    revision: Type.Integer(),
    kind: Type.Union([Type.Literal("memory"), Type.Literal("sqlite")]),
    accepted: Type.Boolean({
      description:
        "an operator has said since the start of this control plane that sidecars shall take this store for their own",
    }),
  },
  CLOSED,
);

export interface AcceptBody {
  readonly id: string;
}

export const ACCEPT_BODY: TSchema = Type.Object(
  { id: Type.String({ minLength: 1, maxLength: 64 }) },
  CLOSED,
);

const VERSION = Type.Object(
  {
    store: Type.String(),
    revision: Type.Integer(),
    digest: Type.String(),
    branch: Type.Optional(Type.String()),
  },
  CLOSED,
);

/** The shape of Holds in control-plane/push/status.ts. */
const HOLDS = Type.Object(
  {
    everything: Type.Boolean({
      description: "it holds all that it may use: the numbers are 0",
    }),
    services: Type.Integer({
      description: "Services that its calls may lead to",
    }),
    questions: Type.Integer({
      description: "hosts and addresses that it asked for",
    }),
  },
  CLOSED,
);

/** The shape of UnreadReport in push/messages.ts. */
const UNREAD = Type.Object(
  {
    count: Type.Integer(),
    resources: Type.Array(
      Type.Object(
        {
          resource: Type.String(),
          fields: Type.Array(Type.String(), {
            description: "what the sidecar does not know",
          }),
          instead: Type.Enum(["older", "closed", "rest", "nothing"], {
            description:
              "what acts in its place: the version that the sidecar has, one that lets nothing through, all but the fields, or nothing",
          }),
        },
        CLOSED,
      ),
      { description: "the first of them" },
    ),
  },
  CLOSED,
);

/** The shape of SidecarStatus in control-plane/push/status.ts. */
const SIDECAR = Type.Object(
  {
    name: Type.String(),
    namespace: Type.String(),
    serviceAccount: Type.String(),
    labels: Type.Record(Type.String(), Type.String()),
    identity: Type.String(),
    connected: Type.Boolean(),
    connectedSince: WALL,
    disconnectedAt: Type.Optional(WALL),
    peer: Type.String(),
    copy: Type.Optional(
      Type.String({
        description: "another address that calls with the same certificate",
      }),
    ),
    acknowledged: Type.Optional(VERSION),
    configReceivedAt: Type.Optional(WALL),
    refused: Type.Optional(
      Type.Object(
        { version: VERSION, reason: Type.String(), at: WALL },
        CLOSED,
      ),
    ),
    withheld: Type.Optional(UNREAD),
    unread: Type.Optional(UNREAD),
    pending: Type.Boolean(),
    certificateSerial: Type.String(),
    certificateExpiresAt: WALL,
    trust: Type.Object(
      {
        serial: Type.Optional(Type.Integer()),
        refused: Type.Optional(Type.String()),
        root: Type.String(),
        issuedAt: WALL,
      },
      CLOSED,
    ),
    holds: Type.Optional(HOLDS),
    agent: Type.Object(
      { version: Type.String(), schema: Type.Integer() },
      CLOSED,
    ),
    lease: Type.Optional(
      Type.Object(
        {
          workload: Type.String(),
          ready: Type.Boolean(),
          unreadyPorts: Type.Optional(
            Type.Record(Type.String(), Type.String(), {
              description:
                "Ports that are not ready, by name, each with the reason",
            }),
          ),
          unconfirmed: Type.Optional(
            Type.Literal(true, {
              description:
                "The lease has run out without a sign of the sidecar, and the workload is kept",
            }),
          ),
        },
        CLOSED,
      ),
    ),
  },
  CLOSED,
);

const UNCONFIRMED = Type.Object(
  {
    /** "NAMESPACE/NAME" */
    workload: Type.String(),
    since: WALL,
    why: Type.String({ description: "Why the workload is still there" }),
    reached: Type.Integer({
      description: "Callers that have reached it in the last half minute",
    }),
    unreached: Type.Integer({ description: "Callers that could not" }),
  },
  CLOSED,
);

/** A FaultInjection that acts now. */
const FAULT = Type.Object(
  {
    namespace: Type.String(),
    name: Type.String(),
    targets: Type.Array(Type.String()),
    /** "delay 2s 10 %, abort 503 1 %" */
    what: Type.String(),
    expiresAt: WALL,
  },
  CLOSED,
);

export const MESH_STATUS: TSchema = Type.Object(
  {
    now: WALL,
    trustDomain: Type.String(),
    store: STORE_BODY,
    sidecars: Type.Array(SIDECAR),
    unconfirmed: Type.Array(UNCONFIRMED),
    faults: Type.Array(FAULT),
    statistics: Type.Record(Type.String(), Type.Number()),
  },
  CLOSED,
);

export const SIDECAR_CONFIG: TSchema = Type.Object(
  {
    sidecar: Type.Object(
      {
        name: Type.String(),
        namespace: Type.String(),
        serviceAccount: Type.String(),
        labels: Type.Record(Type.String(), Type.String()),
        identity: Type.String(),
      },
      CLOSED,
    ),
    version: Type.Object(
      {
        store: Type.String(),
        revision: Type.Integer(),
        digest: Type.String(),
        branch: Type.Optional(Type.String()),
      },
      CLOSED,
    ),
    latest: Type.Boolean({
      description: "there is nothing newer for this sidecar",
    }),
    storeRevision: Type.Integer(),
    added: Type.Integer({
      description:
        "how many of the resources the sidecar does not hold, and would get for what is asked",
    }),
    resources: Type.Array(Type.Object({}, { additionalProperties: true })),
  },
  CLOSED,
);

export const HEALTH: TSchema = Type.Object({ status: Type.String() }, CLOSED);
