/** The service accounts of the crowd: ten instances have one, and use the same Services, as replicas do. Each is given besides what others of its account use. */

const INSTANCES = 10;

export function accountOf(index: number): number {
  return Math.floor(index / INSTANCES);
}

/** The accounts of so many sidecars, and how many of them each has. */
export function accountsOf(count: number): readonly number[] {
  return Array.from({ length: Math.ceil(count / INSTANCES) }, (_, account) =>
    Math.min(INSTANCES, count - account * INSTANCES),
  );
}
