/** TrafficPolicy's TLS with what has no sidecar: what is admitted, and what is in force (trap 14). */
import t from "tap";
import {
  clientTls,
  type ClientTlsSpec,
} from "../../../src/resources/traffic-policy/client-tls.ts";
import { TRAFFIC_POLICY } from "../../../src/resources/traffic-policy/schema.ts";
import { trafficSettings } from "../../../src/resources/traffic-policy/settings.ts";
import { fakeAuthority } from "../../support/certificates/certificate-authority.ts";
import {
  runCases,
  type Case,
  type Expected,
} from "../../support/resources/resource-cases.ts";

const targetRefs = [{ kind: "Service", name: "api" }] as const;
const authority = fakeAuthority();
const { bundle } = authority;

const row = (title: string, tls: unknown, ...expected: Expected[]): Case => [
  title,
  { targetRefs, tls },
  ...expected,
];
const files = { clientCertificate: "/etc/c.pem", privateKey: "/etc/k.pem" };

void t.test("what is admitted", (t) => {
  const at = "spec.tls";
  runCases(t, TRAFFIC_POLICY, [
    row("the machine's roots", { mode: "SIMPLE" }),
    row("a bundle", {
      mode: "SIMPLE",
      caBundle: bundle,
      sni: "api.example.com",
    }),
    row("several roots", {
      mode: "SIMPLE",
      caBundle: `# ours\n${bundle}\n${bundle}`,
    }),
    row("files", { mode: "MUTUAL", ...files }),
    row("off", { mode: "DISABLE" }),
    row("names of each kind", {
      mode: "SIMPLE",
      subjectAltNames: [
        "a.example.com",
        "A.example.com",
        "10.0.0.1",
        "::1",
        "spiffe://td/a",
      ],
    }),
    row("no mode", {}, [`${at}.mode`, /is required/]),
    row("another mode", { mode: "ISTIO_MUTUAL" }, [
      `${at}.mode`,
      /DISABLE.*SIMPLE.*MUTUAL/,
    ]),
    row("no key", { mode: "MUTUAL", clientCertificate: "/etc/c.pem" }, [
      `${at}.privateKey`,
      /is required with mode: MUTUAL/,
    ]),
    row(
      "a certificate for nobody",
      { mode: "SIMPLE", ...files },
      [`${at}.clientCertificate`, /goes only with mode: MUTUAL/],
      [`${at}.privateKey`, /goes only/],
    ),
    row("a relative file", { mode: "MUTUAL", ...files, privateKey: "k.pem" }, [
      `${at}.privateKey`,
      /an absolute path/,
    ]),
    row(
      "names where TLS is off",
      { mode: "DISABLE", sni: "a.b", caBundle: bundle },
      [`${at}.sni`, /does not go with mode: DISABLE/],
      [`${at}.caBundle`, /does not go/],
    ),
    row("no PEM", { mode: "SIMPLE", caBundle: "roots" }, [
      `${at}.caBundle`,
      /has no certificate/,
    ]),
    row(
      "a certificate that is cut",
      { mode: "SIMPLE", caBundle: bundle.replace(/\n.{20}/, "\n") },
      [`${at}.caBundle`, /certificate 1 cannot be read/],
    ),
    row(
      "a private key",
      { mode: "SIMPLE", caBundle: bundle + authority.issue().privateKey },
      [`${at}.caBundle`, /has a block of type PRIVATE KEY/],
    ),
    row("a name in capitals", { mode: "SIMPLE", sni: "API.example.com" }, [
      `${at}.sni`,
      /DNS-1123/,
    ]),
    row(
      "a name that is none",
      { mode: "SIMPLE", subjectAltNames: ["*.example.com"] },
      [`${at}.subjectAltNames[0]`, /not a DNS name, an IP address or a URI/],
    ),
    row("a name twice", { mode: "SIMPLE", subjectAltNames: ["a.b", "a.b"] }, [
      `${at}.subjectAltNames[1]`,
      /the name/,
    ]),
    row("no verification", { mode: "SIMPLE", insecureSkipVerify: true }, [
      `${at}.insecureSkipVerify`,
      /always verified/,
    ]),
    row("a secret", { mode: "SIMPLE", credentialName: "a" }, [
      `${at}.credentialName`,
      /name the files/,
    ]),
    row("a file of roots", { mode: "SIMPLE", caCertificates: "/etc/ca.pem" }, [
      `${at}.caCertificates`,
      /caBundle/,
    ]),
  ]);
  t.end();
});

void t.test("TLS with the application", (t) => {
  const at = "spec.applicationTls";
  const own = (
    title: string,
    applicationTls: unknown,
    ...expected: Expected[]
  ): Case => [title, { targetRefs, applicationTls }, ...expected];
  runCases(t, TRAFFIC_POLICY, [
    own("a bundle", { sni: "a.internal", caBundle: bundle }),
    own("names", { sni: "a.internal", subjectAltNames: ["spiffe://td/a"] }),
    own("no name", { caBundle: bundle }, [`${at}.sni`, /is required/]),
    own("no PEM", { sni: "a.internal", caBundle: "roots" }, [
      `${at}.caBundle`,
      /has no certificate/,
    ]),
    own("a name that is none", { sni: "a.b", subjectAltNames: ["*.b"] }, [
      `${at}.subjectAltNames[0]`,
      /is not a DNS name/,
    ]),
    own("a file", { sni: "a.b", clientCertificate: "/etc/c.pem" }, [
      `${at}.clientCertificate`,
      /./,
    ]),
  ]);
  t.end();
});

void t.test(
  "what is in force: a port's block in place of the Service's",
  (t) => {
    const of = (...tls: (ClientTlsSpec | undefined)[]) =>
      trafficSettings(
        ...(tls.map((each) => ({
          targetRefs,
          ...(each === undefined ? {} : { tls: each }),
        })) as [never, never]),
      ).tls;
    const simple = { mode: "SIMPLE", sni: "a.b" } as const;
    t.equal(of(undefined), undefined);
    t.strictSame(of(simple), simple);
    t.strictSame(of(simple, undefined), simple);
    t.equal(of(simple, { mode: "DISABLE" }), undefined);
    t.strictSame(of(simple, { mode: "SIMPLE" }), { mode: "SIMPLE" });
    t.equal(clientTls(undefined), undefined);
    t.end();
  },
);
