import { setTimeout } from 'node:timers/promises';
import type { QemuDefinition } from '../../../shared/guest-definition.js';
import {
  type BenchPlace,
  type Contender,
  DOWNTIME_LIMIT_MS,
  type Move,
  type Traveller,
  WORK_BEFORE_MS,
} from './contender.js';
import { QemuProcess, type QemuSetting } from './qemu-process.js';

const MULTIFD_CHANNELS = 4;

/** More than any link carries: the link is the limit. bytes/s */
const NO_BANDWIDTH_LIMIT = 1e11;

/** QEMU's own migration, from one QEMU to another one over TCP on loopback. */
export class QemuContender implements Contender {
  readonly name: string;
  readonly #setting: Omit<QemuSetting, 'definition'>;
  readonly #multifd: boolean;
  readonly #travellers: QemuTraveller[] = [];

  constructor(place: BenchPlace, { multifd, privateRam }: { multifd: boolean; privateRam: boolean }) {
    this.name = `${multifd ? 'QEMU multifd' : 'QEMU precopy'}${privateRam ? ', private RAM' : ''}`;
    this.#setting = { ...place, privateRam };
    this.#multifd = multifd;
  }

  async boot(definition: QemuDefinition, ready: RegExp): Promise<Traveller> {
    const setting = { ...this.#setting, definition };
    const qemu = await QemuProcess.start(setting, false);
    const traveller = new QemuTraveller(setting, this.#multifd, qemu);
    this.#travellers.push(traveller);
    await qemu.printed(ready);
    await qemu.monitor.execute('stop');
    return traveller;
  }

  async close(): Promise<void> {
    await Promise.all(this.#travellers.map((traveller) => traveller.end()));
  }
}

class QemuTraveller implements Traveller {
  readonly #setting: QemuSetting;
  readonly #multifd: boolean;
  #qemu: QemuProcess;

  constructor(setting: QemuSetting, multifd: boolean, qemu: QemuProcess) {
    this.#setting = setting;
    this.#multifd = multifd;
    this.#qemu = qemu;
  }

  async migrate(): Promise<Move> {
    const source = this.#qemu;
    await source.monitor.execute('cont');
    await setTimeout(WORK_BEFORE_MS);
    const requestedAt = Date.now();
    const target = await QemuProcess.start(this.#setting, true);
    try {
      const address = await this.#prepare(source, target);
      const readyAt = Date.now();
      const failed = failure(source).then((reason) => {
        throw new Error(`QEMU's migration failed: ${reason}`);
      });
      const times = Promise.all([source.timeOf('STOP'), target.timeOf('RESUME')]);
      await source.monitor.execute('migrate', { uri: address });
      const [stoppedAt, resumedAt] = await Promise.race([times, failed]);
      await target.monitor.execute('stop');
      this.#qemu = target;
      failed.catch(() => undefined);
      await source.end();
      return {
        totalMs: resumedAt - requestedAt,
        copyMs: resumedAt - readyAt,
        downtimeMs: resumedAt - stoppedAt,
      };
    } catch (error) {
      await target.end();
      throw error;
    }
  }

  async end(): Promise<void> {
    await this.#qemu.end();
  }

  /** Gives both the same options and lets the target listen; returns where. */
  async #prepare(source: QemuProcess, target: QemuProcess): Promise<string> {
    const capabilities = ['events', ...(this.#multifd ? ['multifd'] : [])];
    const parameters = {
      'max-bandwidth': NO_BANDWIDTH_LIMIT,
      'downtime-limit': DOWNTIME_LIMIT_MS,
      ...(this.#multifd && { 'multifd-channels': MULTIFD_CHANNELS }),
    };
    for (const { monitor } of [source, target]) {
      await monitor.execute('migrate-set-capabilities', {
        capabilities: capabilities.map((capability) => ({ capability, state: true })),
      });
      await monitor.execute('migrate-set-parameters', parameters);
    }
    await target.monitor.execute('migrate-incoming', { uri: 'tcp:127.0.0.1:0' });
    const answer = (await target.monitor.execute('query-migrate')) as {
      'socket-address': [{ host: string; port: string }];
    };
    const [{ host, port }] = answer['socket-address'];
    return `tcp:${host}:${port}`;
  }
}

/** Resolves if a migration fails, with the reason. */
async function failure({ monitor }: QemuProcess): Promise<string> {
  await monitor.nextEvent(({ name, data }) => name === 'MIGRATION' && data['status'] === 'failed');
  return JSON.stringify(await monitor.execute('query-migrate'));
}
