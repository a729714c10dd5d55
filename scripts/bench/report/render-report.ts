import type { BenchReport } from '../bench-report.js';

/** Stands where the report is drawn. */
export function renderReport(report: BenchReport): string {
  return `<!doctype html><title>vmferry bench ${report.bench}</title>`;
}
