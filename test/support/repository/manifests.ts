/** The Kubernetes manifests of the repository as their tests read them: objects, pods, containers. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";

const FOLDER = join(
  ...[import.meta.dirname, "..", "..", "..", "config", "kubernetes"],
);

/** The file with the mesh's own resources; the others are Kubernetes'. */
export const MESH_FILE: string = join(FOLDER, "mesh.yaml");

export interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string };
  readonly tcpSocket?: { readonly port: string };
}

interface SecurityContext {
  readonly runAsNonRoot?: boolean;
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly fsGroup?: number;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly seccompProfile?: { readonly type: string };
  readonly capabilities?: {
    readonly drop?: readonly string[];
    readonly add?: readonly string[];
  };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy?: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly ports?: readonly {
    readonly name: string;
    readonly containerPort: number;
  }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly lifecycle?: {
    readonly preStop: { readonly exec: { readonly command: string[] } };
  };
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
  readonly securityContext?: SecurityContext;
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
  }[];
}

export interface PodSpec {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken?: boolean;
  readonly enableServiceLinks?: boolean;
  readonly terminationGracePeriodSeconds?: number;
  readonly securityContext?: SecurityContext;
  readonly initContainers?: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly {
    readonly name: string;
    readonly emptyDir?: object;
    readonly secret?: {
      readonly secretName: string;
      readonly defaultMode: number;
    };
  }[];
}

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: Readonly<Record<string, unknown>> & {
    readonly template?: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: PodSpec;
    };
  };
}

/** Every document, with the file that it is in. */
export const OBJECTS: readonly KubernetesObject[] = readdirSync(FOLDER)
  .map((name) => join(FOLDER, name))
  .filter((file) => file.endsWith(".yaml") && file !== MESH_FILE)
  .flatMap((file) =>
    parseAllDocuments(readFileSync(file, "utf8")).map(
      (document) => document.toJS() as KubernetesObject,
    ),
  );

export interface Pod {
  readonly name: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: PodSpec;
}

export const PODS: readonly Pod[] = OBJECTS.flatMap(({ metadata, spec }) =>
  spec?.template === undefined
    ? []
    : [
        {
          name: metadata.name,
          namespace: metadata.namespace ?? "",
          labels: spec.template.metadata.labels,
          spec: spec.template.spec,
        },
      ],
);

export function objectsOf(kind: string): KubernetesObject[] {
  return OBJECTS.filter((each) => each.kind === kind);
}

export function containersOf({ spec }: Pod): readonly Container[] {
  return [...(spec.initContainers ?? []), ...spec.containers];
}

/** The container of this name; throws where there is none. */
export function containerIn(pod: Pod, name: string): Container {
  const found = containersOf(pod).find((each) => each.name === name);
  if (found === undefined) throw new Error(`${pod.name} has no ${name}`);
  return found;
}
