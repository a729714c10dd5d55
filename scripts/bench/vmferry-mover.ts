import type { MigrationEvent, MigrationResult } from '../../shared/api.js';
import { unixNow } from '../../shared/unix-clock.js';
import type { AgentClient } from '../../client/agent-client.js';
import { acceleratorOf } from './accelerator.js';
import { type BenchGuest, definitionOf, isReady, reportsWork } from './bench-guest.js';
import type { Move } from './bench-report.js';
import { letWork, type Mover, type MoveLimits, type Traveller } from './mover.js';
import type { BenchNode, Pair, TestBed } from './test-bed.js';
import { workRates, workReports } from './work-rate.js';

let defined = 0;

/** The two agents of a bed, or two others on its hosts. */
export class VmferryMover implements Mover {
  readonly name = 'vmferry';
  readonly beside = false;
  readonly #bed: TestBed;
  readonly #nodes: Pair<BenchNode>;
  readonly #accel: string;
  readonly #limits: MoveLimits;

  constructor(bed: TestBed, accel: string, limits: MoveLimits, nodes = bed.nodes) {
    this.#bed = bed;
    this.#nodes = nodes;
    this.#accel = accel;
    this.#limits = limits;
  }

  async boot(guest: BenchGuest): Promise<VmferryTraveller> {
    const [{ client }] = this.#nodes;
    defined += 1;
    const name = `bench-${process.pid}-${defined}`;
    const boot =
      guest.kind === 'qemu'
        ? { initrd: await this.#bed.local!.linuxGuest(), accel: await acceleratorOf(this.#accel) }
        : { initrd: '', accel: '' };
    await client.defineGuest(definitionOf(guest, name, boot), undefined);
    await client.changeGuest(name, 'start');
    await ready(client, name);
    await client.changeGuest(name, 'pause');
    return this.traveller(name, { own: true, reports: reportsWork(guest) });
  }

  /** A guest of the first node that is there already. */
  traveller(name: string, traits: { own: boolean; reports: boolean }): VmferryTraveller {
    const oneClock = this.#bed.kind !== 'agents';
    return new VmferryTraveller(name, this.#nodes, this.#limits, { ...traits, oneClock });
  }
}

interface Traits {
  /** It is the benchmark's, and paused at the moment. */
  readonly own: boolean;
  /** It reports its work on its console. */
  readonly reports: boolean;
  /** Both agents and this process have the same clock. */
  readonly oneClock: boolean;
}

export class VmferryTraveller implements Traveller {
  readonly #vm: string;
  readonly #limits: MoveLimits;
  readonly #traits: Traits;
  /** Where it is, and where it goes. */
  #nodes: Pair<BenchNode>;

  constructor(vm: string, nodes: Pair<BenchNode>, limits: MoveLimits, traits: Traits) {
    this.#vm = vm;
    this.#nodes = nodes;
    this.#limits = limits;
    this.#traits = traits;
  }

  /** Lets it run, for a while before it is moved. */
  async run(): Promise<void> {
    await this.#resume();
    await this.#letWork(await printedUntil(this.#nodes[0].client, this.#vm));
  }

  async #resume(): Promise<void> {
    if (this.#traits.own) await this.#nodes[0].client.changeGuest(this.#vm, 'resume');
  }

  async pause(): Promise<void> {
    if (this.#traits.own) await this.#nodes[0].client.changeGuest(this.#vm, 'pause');
  }

  /** `since`: where in what it printed it began to run. */
  async #letWork(since: number): Promise<void> {
    const [{ client }] = this.#nodes;
    const reports = async () => workReports(...(await textFrom(client, this.#vm, since)));
    if (await letWork(this.#traits.reports ? reports : null)) return;
    throw new Error(`${this.#vm} does not work any more on ${this.#nodes[0].node}: see its console`);
  }

  async migrate(): Promise<Move> {
    const [{ client: source }, { client: target }] = this.#nodes;
    await this.#resume();
    const running = await printedUntil(source, this.#vm);
    await this.#letWork(running);
    const requested = await printedUntil(source, this.#vm);
    const before = workReports(...(await textFrom(source, this.#vm, running)));
    const cpuBefore = await processorTimes(this.#nodes);
    const requestedAt = unixNow();
    let moved = requested;
    const { result, times } = await this.#request(async () => {
      moved = await printedUntil(target, this.#vm);
    });
    const cpuAfter = await processorTimes([this.#nodes[1], this.#nodes[0]]);
    await this.#letWork(moved);
    const end = await printedUntil(target, this.#vm);
    await this.pause();
    const reports = [...before, ...workReports(...(await textFrom(target, this.#vm, requested)))];
    const { oneClock } = this.#traits;
    return {
      ...timesOf(result, oneClock ? { ...times, requestedAt } : times, oneClock),
      ...figuresOf(result),
      cpuMs: {
        source: cpuAfter.source - cpuBefore.source,
        target: cpuAfter.target - cpuBefore.target,
      },
      workPerSecond: workRates(reports, { running, requested, moved, end }),
      intact: true,
    };
  }

  /** Asks for the move and waits for its end; the guest is on the other node then. `onMoved`: it runs there. */
  async #request(onMoved: () => Promise<void>): Promise<{ result: MigrationResult; times: Times }> {
    const [source, target] = this.#nodes;
    const { maxDowntimeMs, maxTimeMs } = this.#limits;
    const options = { maxDowntimeMs, maxTotalMs: maxTimeMs };
    const info = await source.client.startMigration({ vm: this.#vm, to: target.node, options });
    const times = { requestedAt: Date.parse(info.requestedAt), readyAt: NaN, ranAt: NaN };
    for await (const event of endOf(source.client, info.id)) {
      if (event.event === 'phase' && event.phase === 'copying') times.readyAt = Date.parse(event.at);
      if (event.event === 'phase' && event.phase === 'completing') {
        times.ranAt = Date.parse(event.at);
        await onMoved();
      }
      if (event.event !== 'ended') continue;
      const { error } = event.result;
      if (error) throw new Error(`vmferry's migration of ${this.#vm} failed: ${error.message}`);
      this.#nodes = [target, source];
      return { result: event.result, times };
    }
    throw new Error(`the events of migration ${info.id} ended without a result`);
  }

  /** Asks for the move alone, of a guest that runs; resolves with its result. */
  async move(): Promise<MigrationResult> {
    return (await this.#request(() => Promise.resolve())).result;
  }

  async end(): Promise<void> {
    if (!this.#traits.own) return;
    const [{ client }] = this.#nodes;
    await client.changeGuest(this.#vm, 'stop');
    await client.undefineGuest(this.#vm);
  }
}

/** Unix ms. `readyAt`, `ranAt` and where agents have other clocks `requestedAt`, too, by the clock of the source. */
interface Times {
  readonly requestedAt: number;
  /** When the target was ready for pages. */
  readonly readyAt: number;
  /** When the source heard that the guest runs. */
  readonly ranAt: number;
}

function timesOf(result: MigrationResult, { requestedAt, readyAt, ranAt }: Times, oneClock: boolean) {
  const { stoppedAt = NaN, resumedAt } = result.switchover ?? {};
  const ran = oneClock ? (resumedAt ?? NaN) : ranAt;
  return {
    totalMs: ran - requestedAt,
    copyMs: ran - readyAt,
    downtimeMs: oneClock ? ran - stoppedAt : result.downtimeMs,
    stoppedAfterMs: stoppedAt - requestedAt,
  };
}

function figuresOf({ downtime, populatedBytes, wireBytes, rounds, convergence }: MigrationResult) {
  const parts = Object.entries(downtime).map(([name, ms]) => [name.replace(/Ms$/, ''), ms] as const);
  return {
    downtimeParts: Object.fromEntries(parts),
    populatedBytes,
    wireBytes,
    roundCount: rounds.length,
    rounds,
    convergence: convergence?.reason ?? '',
  };
}

function endOf(client: AgentClient, id: string): AsyncGenerator<MigrationEvent> {
  return client.migrationEvents(id, -1, new AbortController().signal);
}

/** Of both agents' processes since they started. ms */
async function processorTimes([source, target]: Pair<BenchNode>): Promise<{
  source: number;
  target: number;
}> {
  const [a, b] = await Promise.all([source, target].map(({ client }) => client.status()));
  return { source: a!.node.process.cpuMs, target: b!.node.process.cpuMs };
}

async function printedUntil(client: AgentClient, vm: string): Promise<number> {
  return (await client.guest(vm)).consoleBytes;
}

async function textFrom(client: AgentClient, vm: string, position: number): Promise<[string, number]> {
  const chunk = await client.readConsole(vm, position);
  return [chunk.text, chunk.position];
}

/** Resolves once its memory is filled. */
async function ready(client: AgentClient, vm: string): Promise<void> {
  const leave = new AbortController();
  let all = '';
  try {
    for await (const chunk of client.followConsole(vm, 0, leave.signal)) {
      all += chunk.text;
      if (isReady(all)) return;
    }
  } finally {
    leave.abort();
  }
  throw new Error(`the guest ended; it had printed: ${all}`);
}
