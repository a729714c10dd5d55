import { collectDefaultMetrics, Registry } from 'prom-client';
import type { MigrationInfo } from '../../shared/api.js';
import { MigrationMetrics } from './migration-metrics.js';
import { NodeGauges, type NodeState } from './node-gauges.js';

/** Gauges of prom-client whose names end like counters' do: `promtool check metrics` objects, and nobody needs them. */
const MISNAMED = [
  'nodejs_active_resources_total',
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
];

/** How often the delay of the event loop is measured: each time wakes the agent up. Every 10 ms took 0.5 % of a processor. ms */
const EVENT_LOOP_STEP_MS = 100;

/** What an agent tells Prometheus: a registry of its own, read when it is scraped. */
export class AgentMetrics {
  readonly migrations: MigrationMetrics;
  readonly #registry = new Registry();
  readonly #node: NodeGauges;

  constructor() {
    this.migrations = new MigrationMetrics(this.#registry);
    this.#node = new NodeGauges(this.#registry);
    collectDefaultMetrics({ register: this.#registry, eventLoopMonitoringPrecision: EVENT_LOOP_STEP_MS });
    for (const name of MISNAMED) this.#registry.removeSingleMetric(name);
  }

  /** Prometheus' text format 0.0.4, of the node as it is now. */
  async text(state: NodeState & { readonly migrations: readonly MigrationInfo[] }): Promise<string> {
    this.#node.update(state);
    this.migrations.update(state.migrations);
    return await this.#registry.metrics();
  }
}
