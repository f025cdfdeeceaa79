/** Metrics by OTLP: the text of `/metrics` as OpenTelemetry's metrics, which its serializer writes and its transports send. */
import { ValueType, type Attributes, type HrTime } from "@opentelemetry/api";
import { ProtobufMetricsSerializer } from "@opentelemetry/otlp-transformer";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  DataPointType,
  type MetricData,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import { otlpGrpcDelegate } from "./otlp-grpc.ts";
import { otlpHttpDelegate } from "./otlp-http.ts";
import type {
  MetricsTransport,
  OtlpDestination,
  TransportOptions,
} from "./span-transport.ts";

const SCOPE = { name: "wherry" };

export function metricsTransport({
  endpoint,
  protocol,
  clock,
  resource,
}: TransportOptions & OtlpDestination): MetricsTransport {
  const make = protocol === "grpc" ? otlpGrpcDelegate : otlpHttpDelegate;
  const delegate = make<ResourceMetrics>(endpoint, {
    signal: "metrics",
    items: "metric_data_point",
    serializeRequest: (message) =>
      ProtobufMetricsSerializer.serializeRequest(message),
    deserializeResponse: (octets) =>
      ProtobufMetricsSerializer.deserializeResponse(octets),
    count: ({ scopeMetrics }) =>
      (scopeMetrics[0]?.metrics ?? []).reduce(
        (sum, { dataPoints }) => sum + dataPoints.length,
        0,
      ),
  });
  const startTime = hrTime(clock.wall());
  const described = resourceFromAttributes(resource);
  return {
    send: (text) =>
      new Promise((resolve) => {
        const metrics = readMetrics(text, startTime, hrTime(clock.wall()));
        delegate.export(
          { resource: described, scopeMetrics: [{ scope: SCOPE, metrics }] },
          ({ error }) => resolve(error),
        );
      }),
    shutdown: () => delegate.shutdown(),
    abort: () => delegate.abort(),
  };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}

interface Family {
  readonly name: string;
  readonly help: string;
  type: string;
  readonly samples: Sample[];
}

interface Sample {
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly value: number;
}

/** Counters become sums since `startTime`, gauges gauges, histograms histograms with the same bounds. */
export function readMetrics(
  text: string,
  startTime: HrTime,
  endTime: HrTime,
): MetricData[] {
  return familiesOf(text).map(({ name, help, type, samples }): MetricData => {
    const times = { startTime, endTime };
    const common = {
      descriptor: {
        name,
        description: help,
        unit: unitOf(name),
        valueType: ValueType.DOUBLE,
      },
      aggregationTemporality: AggregationTemporality.CUMULATIVE,
    };
    if (type === "histogram")
      return {
        ...common,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: histogramsOf(name, samples).map((point) => ({
          ...times,
          ...point,
        })),
      };
    const dataPoints = samples.map(({ labels, value }) => ({
      ...times,
      attributes: labels,
      value,
    }));
    return type === "counter"
      ? {
          ...common,
          dataPointType: DataPointType.SUM,
          isMonotonic: true,
          dataPoints,
        }
      : { ...common, dataPointType: DataPointType.GAUGE, dataPoints };
  });
}

/** As UCUM has it, by the end of the name. */
function unitOf(name: string): string {
  if (/_seconds$/.test(name)) return "s";
  return /_bytes(?:_total)?$/.test(name) ? "By" : "1";
}

/** What `MetricsRegistry.render` writes, and no more of Prometheus' format. */
function familiesOf(text: string): readonly Family[] {
  const families: Family[] = [];
  for (const line of text.split("\n")) {
    const [, kind, name = "", rest = ""] =
      /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    const family = families.at(-1);
    if (kind === "HELP")
      families.push({
        name,
        help: unescaped(rest),
        type: "gauge",
        samples: [],
      });
    else if (kind === "TYPE" && family !== undefined) family.type = rest;
    else if (line !== "") family?.samples.push(sampleOf(line));
  }
  return families;
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, (_, each: string) =>
    each === "n" ? "\n" : each,
  );
}

function sampleOf(line: string): Sample {
  const blank = line.lastIndexOf(" ");
  const brace = line.indexOf("{");
  const labels: Record<string, string> = {};
  if (brace >= 0)
    for (const [, key = "", value = ""] of line
      .slice(brace + 1, blank)
      .matchAll(/,?([a-z_]+)="((?:[^"\\]|\\.)*)"/gy))
      labels[key] = unescaped(value);
  return {
    name: line.slice(0, brace < 0 ? blank : brace),
    labels,
    value: Number(line.slice(blank + 1)),
  };
}

interface HistogramPoint {
  readonly attributes: Attributes;
  readonly value: {
    readonly buckets: { boundaries: number[]; counts: number[] };
    sum: number;
    count: number;
  };
}

/** Cumulative buckets become counts of each, the last of what is above all bounds. */
function histogramsOf(
  family: string,
  samples: readonly Sample[],
): readonly HistogramPoint[] {
  const points = new Map<string, HistogramPoint & { below: number }>();
  for (const { name, labels, value } of samples) {
    const { le, ...attributes } = labels;
    const key = JSON.stringify(attributes);
    let point = points.get(key);
    if (point === undefined) {
      const buckets = { boundaries: [], counts: [] };
      point = { attributes, value: { buckets, sum: 0, count: 0 }, below: 0 };
      points.set(key, point);
    }
    const { buckets } = point.value;
    if (name === `${family}_sum`) point.value.sum = value;
    else if (name === `${family}_count`) point.value.count = value;
    else {
      buckets.counts.push(value - point.below);
      point.below = value;
      if (le !== "+Inf") buckets.boundaries.push(Number(le));
    }
  }
  return [...points.values()].map(({ attributes, value }) => ({
    attributes,
    value,
  }));
}
