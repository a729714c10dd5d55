import { randomBytes } from 'node:crypto';
import type { PeerReport, PeerReports } from '../../shared/api/doctor.js';
import { MigrationError, toMigrationError } from '../../shared/errors.js';
import { CLOSE_DONE } from '../../shared/protocol/close-codes.js';
import type { Credentials } from '../../shared/tls/credentials.js';
import type { NodeAddress } from '../node-address.js';
import { dialFailure } from '../link/peer-identity.js';
import type { PeerDialer } from '../source/peer-dialer.js';
import { examinePath, type PathFound } from './peer-path.js';

/** Peers that are looked at at once. */
const AT_ONCE = 8;

export interface PeerChecksOptions {
  readonly node: string;
  readonly peers: () => readonly NodeAddress[];
  readonly dialer: Pick<PeerDialer, 'control'>;
  readonly tls: () => Credentials | null;
  /** Ends the looking, for the end of the agent. */
  readonly signal: AbortSignal;
}

/** What one node finds of the others: whether it can talk to their agents as to migrate, and the way there. */
export class PeerChecks {
  readonly #options: PeerChecksOptions;
  #underWay: Promise<PeerReports> | null = null;

  constructor(options: PeerChecksOptions) {
    this.#options = options;
  }

  /** Who asks while it looks is told the same: each look dials every peer. */
  async report(): Promise<PeerReports> {
    this.#underWay ??= this.#look().finally(() => (this.#underWay = null));
    return await this.#underWay;
  }

  async #look(): Promise<PeerReports> {
    const { node, peers } = this.#options;
    const waiting = [...peers()];
    const found: PeerReport[] = [];
    const look = async () => {
      for (let peer = waiting.shift(); peer; peer = waiting.shift()) found.push(await this.#check(peer));
    };
    await Promise.all(Array.from({ length: AT_ONCE }, look));
    return { node, peers: found.sort((a, b) => (a.node < b.node ? -1 : 1)) };
  }

  async #check(peer: NodeAddress): Promise<PeerReport> {
    const { tls, signal } = this.#options;
    const found: PeerReport = {
      ...peer,
      ...{ error: null, protocol: null, path: null, certificateExpiresAt: null },
    };
    try {
      const { path, certificateExpiresAt } = await this.#path(peer, tls(), signal);
      found.path = path;
      found.certificateExpiresAt = certificateExpiresAt?.toISOString() ?? null;
      found.protocol = await this.#agreedVersion(peer, signal);
    } catch (thrown) {
      const { code, message } = toMigrationError(thrown, 'peer-failed');
      found.error = { code, message };
    }
    return found;
  }

  async #path(peer: NodeAddress, tls: Credentials | null, signal: AbortSignal): Promise<PathFound> {
    try {
      return await examinePath(peer, tls, signal);
    } catch (error) {
      throw dialFailure(error as Error, (reason, cause) => {
        const text = `node ${peer.node} at ${peer.url} can't be reached: ${reason}`;
        return new MigrationError('peer-unreachable', text, { cause });
      });
    }
  }

  /** As a migration begins: both say who they are and which versions they speak. */
  async #agreedVersion(peer: NodeAddress, signal: AbortSignal): Promise<number> {
    const id = `m-${randomBytes(6).toString('hex')}`;
    const { control, handshake } = await this.#options.dialer.control(peer, id, signal);
    control.close(CLOSE_DONE, 'checked');
    return handshake.version;
  }
}
