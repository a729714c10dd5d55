import { setTimeout } from 'node:timers/promises';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import { AgentClient } from '../../cli/agent-client.js';
import { type AgentProcess, startAgents } from '../../lab/agent-process.js';
import {
  type BenchPlace,
  type Contender,
  DOWNTIME_LIMIT_MS,
  type Move,
  type Traveller,
  WORK_BEFORE_MS,
} from './contender.js';

/** Memory that each agent may give to guests: those of all workloads. */
const GUEST_MEMORY = '16GiB';

/** Two agents on this machine. */
export class VmferryContender implements Contender {
  readonly name = 'vmferry';
  readonly #agents: AgentProcess[];
  readonly #travellers: VmferryTraveller[] = [];

  static async start({ directory, memoryDirectory }: BenchPlace): Promise<VmferryContender> {
    const settings = { guestMemory: GUEST_MEMORY, qemu: { memoryDirectory } };
    return new VmferryContender(await startAgents(['a', 'b'], directory, settings));
  }

  private constructor(agents: AgentProcess[]) {
    this.#agents = agents;
  }

  async boot(definition: QemuDefinition, ready: RegExp): Promise<Traveller> {
    const [a, b] = this.#agents.map(({ url }) => new AgentClient(url));
    await a!.defineGuest(definition, undefined);
    const traveller = new VmferryTraveller(definition.name, [a!, b!]);
    this.#travellers.push(traveller);
    await a!.changeGuest(definition.name, 'start');
    await printed(a!, definition.name, ready);
    await a!.changeGuest(definition.name, 'pause');
    return traveller;
  }

  async close(): Promise<void> {
    await Promise.all(this.#travellers.map((traveller) => traveller.end()));
    await Promise.all(this.#agents.map((agent) => agent.stop()));
  }
}

class VmferryTraveller implements Traveller {
  readonly #vm: string;
  /** Where it is, and where it goes. */
  #nodes: readonly [AgentClient, AgentClient];

  constructor(vm: string, nodes: readonly [AgentClient, AgentClient]) {
    this.#vm = vm;
    this.#nodes = nodes;
  }

  async migrate(): Promise<Move> {
    const [source, target] = this.#nodes;
    await source.changeGuest(this.#vm, 'resume');
    await setTimeout(WORK_BEFORE_MS);
    const { node: to } = await target.status().then(({ node }) => node);
    const requestedAt = Date.now();
    let readyAt = NaN;
    const options = { maxDowntimeMs: DOWNTIME_LIMIT_MS };
    const { id } = await source.startMigration({ vm: this.#vm, to, options });
    for await (const event of source.migrationEvents(id, -1, new AbortController().signal)) {
      if (event.event === 'phase' && event.phase === 'copying') readyAt = Date.parse(event.at);
      if (event.event !== 'ended') continue;
      const { error, switchover } = event.result;
      if (error) throw new Error(`vmferry's migration failed: ${error.message}`);
      const { stoppedAt = NaN, resumedAt } = switchover ?? {};
      const ranAt = resumedAt ?? NaN;
      this.#nodes = [target, source];
      await target.changeGuest(this.#vm, 'pause');
      return { totalMs: ranAt - requestedAt, copyMs: ranAt - readyAt, downtimeMs: ranAt - stoppedAt };
    }
    throw new Error(`the events of migration ${id} ended without a result`);
  }

  async end(): Promise<void> {
    const [here] = this.#nodes;
    const { status } = await here.guest(this.#vm);
    if (status !== 'stopped') await here.changeGuest(this.#vm, 'stop');
  }
}

async function printed(agent: AgentClient, vm: string, text: RegExp): Promise<void> {
  const leave = new AbortController();
  let all = '';
  try {
    for await (const chunk of agent.followConsole(vm, 0, leave.signal)) {
      all += chunk.text;
      if (text.test(all)) return;
    }
  } finally {
    leave.abort();
  }
  throw new Error(`the guest ended; it had printed: ${all}`);
}
