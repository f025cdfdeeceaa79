/** Resources as their files have them, for sidecars that are processes of their own. */

/** Everybody may call everybody. */
export const OPEN_MESH: string = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Mesh
metadata: { name: default }
spec:
  authorization: { defaultAction: ALLOW }
`;

export const ORDERS_SERVICE: string = `
apiVersion: mesh.wherry.dev/v1alpha1
kind: Service
metadata: { name: orders, namespace: shop }
spec:
  ports: [{ name: http, port: 80, appProtocol: http }]
  selector: { app: orders }
`;
