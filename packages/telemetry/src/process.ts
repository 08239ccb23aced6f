import { monitorEventLoopDelay } from "node:perf_hooks";
import type { Meter } from "@opentelemetry/api";
import { processMetrics } from "./registry.ts";

// As often as the loop is looked at: finer costs more than it tells.
const resolutionMs = 20;

/** Reads the process's own figures whenever metrics are collected. */
export function watchProcess(meter: Meter): Disposable {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs });
  delay.enable();
  const { eventLoopDelay, residentBytes, cpuSeconds } = processMetrics;
  const about = ({ unit, help: description }: { unit: string; help: string }) => ({ unit, description });
  meter.createObservableGauge(eventLoopDelay.name, about(eventLoopDelay)).addCallback((result) => {
    const seconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1e3) || 0;
    result.observe(seconds(delay.percentile(50)), { quantile: "p50" });
    result.observe(seconds(delay.percentile(99)), { quantile: "p99" });
    result.observe(seconds(delay.max), { quantile: "max" });
    delay.reset();
  });
  meter.createObservableGauge(residentBytes.name, about(residentBytes)).addCallback((result) => {
    result.observe(process.memoryUsage.rss());
  });
  meter.createObservableCounter(cpuSeconds.name, about(cpuSeconds)).addCallback((result) => {
    const { user, system } = process.cpuUsage();
    result.observe((user + system) / 1e6);
  });
  return { [Symbol.dispose]: () => delay.disable() };
}
