import { askQemu } from '../../agent/guest/qemu/host/probe-process.js';
import { QmpError } from '../../agent/guest/qemu/qmp/qmp-errors.js';
import type { QemuDefinition } from '../../shared/guest-definition.js';
import { unixNow } from '../../shared/unix-clock.js';
import { LAB_LINK_DEVICE } from '../lab/lab-network.js';
import { acceleratorOf } from './accelerator.js';
import { type BenchGuest, definitionOf, reportsWork } from './bench-guest.js';
import type { Move } from './bench-report.js';
import { letWork, type Mover, type MoveLimits, type Traveller } from './mover.js';
import { QemuProcess, type QemuSetting } from './qemu-process.js';
import type { BenchHost, LocalBed, Pair } from './test-bed.js';
import { workRates, workReports } from './work-rate.js';

/** More than any link carries: the link is the limit. bytes/s */
const NO_BANDWIDTH_LIMIT = 1e11;

/** Any downtime at all, the most that QEMU takes. ms */
const NO_DOWNTIME_LIMIT = 2_000_000;

/** A way of QEMU's own to migrate. */
export interface QemuMethod {
  readonly name: string;
  readonly capabilities: readonly string[];
  readonly parameters: Readonly<Record<string, string | number>>;
}

export const QEMU_METHODS: readonly QemuMethod[] = [
  { name: 'precopy', capabilities: [], parameters: {} },
  { name: 'multifd 4', capabilities: ['multifd'], parameters: { 'multifd-channels': 4 } },
  { name: 'multifd 8', capabilities: ['multifd'], parameters: { 'multifd-channels': 8 } },
  { name: 'xbzrle', capabilities: ['xbzrle'], parameters: {} },
  {
    name: 'multifd 4 zstd',
    capabilities: ['multifd'],
    parameters: { 'multifd-channels': 4, 'multifd-compression': 'zstd' },
  },
];

/** Those of them that this host's QEMU has built in. */
export async function builtInMethods(methods: readonly QemuMethod[]): Promise<QemuMethod[]> {
  return await askQemu('qemu-system-x86_64', ['-machine', 'none'], async (qmp) => {
    const built: QemuMethod[] = [];
    for (const method of methods) {
      try {
        await qmp.execute('migrate-set-capabilities', { capabilities: switchedOn(method.capabilities) });
        await qmp.execute('migrate-set-parameters', method.parameters);
        built.push(method);
      } catch (error) {
        if (!(error instanceof QmpError)) throw error;
      }
    }
    return built;
  });
}

/** QEMU's own migration, from a QEMU on one host to another one on the other over TCP. */
export class QemuMover implements Mover {
  readonly name: string;
  readonly beside: boolean;
  readonly #bed: LocalBed;
  readonly #method: QemuMethod;
  readonly #accel: string;
  readonly #limits: MoveLimits;
  #booted = 0;

  constructor(bed: LocalBed, accel: string, limits: MoveLimits, method: QemuMethod, privateRam: boolean) {
    this.name = `QEMU ${method.name}${privateRam ? ', private RAM' : ''}`;
    this.beside = privateRam;
    this.#bed = bed;
    this.#method = method;
    this.#accel = accel;
    this.#limits = limits;
  }

  async boot(guest: BenchGuest): Promise<Traveller> {
    this.#booted += 1;
    const name = `${this.name.replaceAll(/[^\w]+/g, '-')}-${this.#booted}`;
    const initrd = await this.#bed.linuxGuest();
    // Only for guests of the kind 'qemu': bench compare sees to it.
    const accel = await acceleratorOf(this.#accel);
    const definition = definitionOf(guest, name, { initrd, accel }) as QemuDefinition;
    const { folders, hosts } = this.#bed;
    const setting = { definition, folders, privateRam: this.beside, reports: reportsWork(guest) };
    const traveller = new QemuTraveller(setting, hosts, this.#method, this.#limits);
    await traveller.boot();
    return traveller;
  }
}

interface GuestSetting extends Omit<QemuSetting, 'launcher'> {
  /** It reports its work on its console. */
  readonly reports: boolean;
}

class QemuTraveller implements Traveller {
  readonly #setting: GuestSetting;
  readonly #method: QemuMethod;
  readonly #limits: MoveLimits;
  /** Where it is, and where it goes. */
  #hosts: Pair<BenchHost>;
  #qemu!: QemuProcess;
  /** What it had in use before its first move: QEMU's target fills the holes of a RAM file as it looks for zero pages. */
  #populatedBytes = NaN;

  constructor(setting: GuestSetting, hosts: Pair<BenchHost>, method: QemuMethod, limits: MoveLimits) {
    this.#setting = setting;
    this.#hosts = hosts;
    this.#method = method;
    this.#limits = limits;
  }

  /** Boots the guest where it is; resolves once its memory is filled, with the guest paused. */
  async boot(): Promise<void> {
    this.#qemu = await QemuProcess.start({ ...this.#setting, launcher: this.#hosts[0].launcher }, false);
    await this.#qemu.ready();
    await this.#qemu.monitor.execute('stop');
    this.#populatedBytes = await this.#qemu.populatedBytes();
  }

  async migrate(): Promise<Move> {
    const source = this.#qemu;
    const running = (await source.printed()).length;
    await source.monitor.execute('cont');
    if (!(await this.#letWork(source, running)))
      throw new Error('a guest stopped working before it was moved');
    const requested = (await source.printed()).length;
    const sourceMs = await source.processorMs();
    const sent = await source.sentBytes(LAB_LINK_DEVICE);
    const requestedAt = unixNow();
    const target = await QemuProcess.start({ ...this.#setting, launcher: this.#hosts[1].launcher }, true);
    try {
      const address = await this.#prepare(source, target);
      const readyAt = unixNow();
      const { stoppedAt, resumedAt, limited } = await this.#run(source, target, address);
      const printed = await source.printed();
      const moved = printed.length + (await target.printed()).length;
      const cpuMs = {
        source: (await source.processorMs()) - sourceMs,
        target: await target.processorMs(),
      };
      const { ram } = (await source.monitor.execute('query-migrate')) as MigrationInfo;
      const onLink = await source.sentBytes(LAB_LINK_DEVICE);
      const intact = await this.#letWork(target, moved - printed.length);
      await target.monitor.execute('stop');
      const reports = workReports(printed + (await target.printed()));
      const end = printed.length + (await target.printed()).length;
      this.#qemu = target;
      this.#hosts = [this.#hosts[1], this.#hosts[0]];
      await source.end();
      if (!intact) {
        await target.end();
        await this.boot();
      }
      return {
        totalMs: resumedAt - requestedAt,
        copyMs: resumedAt - readyAt,
        downtimeMs: resumedAt - stoppedAt,
        downtimeParts: {},
        stoppedAfterMs: stoppedAt - requestedAt,
        populatedBytes: this.#populatedBytes,
        // With compression QEMU counts what it compressed.
        wireBytes: sent === null || onLink === null ? ram.transferred : onLink - sent,
        roundCount: ram['dirty-sync-count'],
        rounds: [],
        convergence: limited ? 'time-limit' : 'below-threshold',
        cpuMs,
        workPerSecond: workRates(reports, { running, requested, moved, end }),
        intact,
      };
    } catch (error) {
      await target.end();
      throw error;
    }
  }

  /** `since`: where in what it printed there it began to run. */
  async #letWork(qemu: QemuProcess, since: number): Promise<boolean> {
    const reports = async () => workReports((await qemu.printed()).slice(since));
    return await letWork(this.#setting.reports ? reports : null);
  }

  async end(): Promise<void> {
    await this.#qemu.end();
  }

  /** Migrates; `limited`: the time limit came first, and from then on any downtime was allowed. */
  async #run(source: QemuProcess, target: QemuProcess, address: string) {
    const failed = failure(source).then((reason) => {
      throw new Error(`QEMU's migration (${this.#method.name}) failed: ${reason}`);
    });
    const times = Promise.all([source.timeOf('STOP'), target.timeOf('RESUME')]);
    let limited = false;
    const limit = globalThis.setTimeout(() => {
      limited = true;
      const parameters = { 'downtime-limit': NO_DOWNTIME_LIMIT };
      source.monitor.execute('migrate-set-parameters', parameters).catch(() => undefined);
    }, this.#limits.maxTimeMs);
    try {
      await source.monitor.execute('migrate', { uri: address });
      const [stoppedAt, resumedAt] = await Promise.race([times, failed]);
      return { stoppedAt, resumedAt, limited };
    } finally {
      clearTimeout(limit);
      failed.catch(() => undefined);
      times.catch(() => undefined);
    }
  }

  /** Gives both the same options and lets the target listen; returns where. */
  async #prepare(source: QemuProcess, target: QemuProcess): Promise<string> {
    const { capabilities, parameters } = this.#method;
    for (const { monitor } of [source, target]) {
      await monitor.execute('migrate-set-capabilities', {
        capabilities: switchedOn(['events', ...capabilities]),
      });
      await monitor.execute('migrate-set-parameters', {
        'max-bandwidth': NO_BANDWIDTH_LIMIT,
        'downtime-limit': this.#limits.maxDowntimeMs,
        ...parameters,
      });
    }
    await target.monitor.execute('migrate-incoming', { uri: `tcp:${this.#hosts[1].address}:0` });
    const answer = (await target.monitor.execute('query-migrate')) as {
      'socket-address': [{ host: string; port: string }];
    };
    const [{ host, port }] = answer['socket-address'];
    return `tcp:${host}:${port}`;
  }
}

/** What of the answer to query-migrate is used. */
interface MigrationInfo {
  readonly ram: { readonly transferred: number; readonly 'dirty-sync-count': number };
}

function switchedOn(capabilities: readonly string[]) {
  return capabilities.map((capability) => ({ capability, state: true }));
}

/** Resolves if a migration fails, with the reason. */
async function failure({ monitor }: QemuProcess): Promise<string> {
  await monitor.nextEvent(({ name, data }) => name === 'MIGRATION' && data['status'] === 'failed');
  return JSON.stringify(await monitor.execute('query-migrate'));
}
