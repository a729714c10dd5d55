import type { MigrationResult } from '../../shared/api.js';
import { PAGE_SIZE } from '../../shared/page.js';
import type { VerifyMode } from '../../shared/protocol/messages.js';
import type { AgentClient } from '../../client/agent-client.js';
import { migrationSummary } from '../cli/migration-summary.js';

/** What a demonstration works with. */
export interface Stage {
  readonly a: AgentClient;
  readonly b: AgentClient;
  /** For files; it is removed in the end. */
  readonly directory: string;
  /** Tells those who watch. */
  readonly say: (text: string) => void;
}

/** How it went: `ok` if all of it held; the rest is for programs. */
export interface Evidence {
  readonly ok: boolean;
  readonly migrations: readonly MigrationResult[];
  readonly [detail: string]: unknown;
}

/** Moves a running VM; throws if it could not. */
export async function migrate(
  { say }: Stage,
  { vm, from, to, verify }: { vm: string; from: AgentClient; to: string; verify: VerifyMode },
): Promise<MigrationResult> {
  const before = await from.guest(vm);
  if (before.status !== 'running')
    throw new Error(`the guest is ${before.status} before it was migrated to ${to}`);
  const { id } = await from.startMigration({ vm, to, options: { verify } });
  for await (const event of from.migrationEvents(id, -1, new AbortController().signal)) {
    if (event.event !== 'ended') continue;
    say(`${migrationSummary(event.result)}\n`);
    if (event.result.error) throw new Error(event.result.error.message);
    return event.result;
  }
  throw new Error(`the events of migration ${id} ended without a result`);
}

/** True if it arrived with every page compared and none that differs. */
export function isPerfect({ outcome, verify, ramBytes }: MigrationResult): boolean {
  return outcome === 'completed' && verify.mismatches === 0 && verify.pagesChecked * PAGE_SIZE === ramBytes;
}

export function downtimesOf(migrations: readonly MigrationResult[]): string {
  return migrations.map(({ downtimeMs }) => `${downtimeMs.toFixed(1)} ms`).join(' and ');
}
