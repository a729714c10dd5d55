import type { AgentConfig } from '../../shared/config.js';
import type { DoctorReport } from '../../shared/api/doctor.js';
import { type PreflightFinding, PROTOCOL_VERSIONS } from '../../shared/protocol/messages.js';
import { VERSION } from '../../shared/version.js';
import type { GuestKinds, KindHealth } from '../guest/hosted-guest.js';
import type { VmTable } from '../guest/vm-table.js';
import type { NodeCredentials } from '../node-credentials.js';
import { gatherHostFacts } from './host-facts.js';
import { checkHost } from './host-rules.js';

export const LOCK_DISABLED: PreflightFinding = {
  level: 'warning',
  code: 'lock-disabled',
  message: 'the pair lock is disabled: migrations run at the same time and slow each other down',
  remedy:
    "remove 'lock.disabledForBenchmark' from the configuration: only 'vmferry bench concurrent' sets it",
};

export const WITHOUT_TLS: PreflightFinding = {
  level: 'warning',
  code: 'insecure-plaintext',
  message:
    'other hosts reach this agent without TLS: whoever can connect operates its VMs and reads their memory',
  remedy: "give the agent 'tls' and remove 'insecurePlaintext' from the configuration: only labs set it",
};

export interface NodeDoctorOptions {
  readonly config: AgentConfig;
  readonly kinds: GuestKinds;
  readonly vms: Pick<VmTable, 'memoryLimitBytes' | 'memoryUsedBytes'>;
  readonly credentials: NodeCredentials;
  readonly drained: () => boolean;
}

/** How fit a node is for guests and for migrations, as its agent finds by itself; and what others compare it by. */
export async function doctorNode({
  config,
  kinds,
  vms,
  credentials,
  drained,
}: NodeDoctorOptions): Promise<DoctorReport> {
  const { node } = config;
  const host = await gatherHostFacts();
  const { findings: ofKinds, qemu } = await doctorKinds(kinds);
  const { memoryLimitBytes, memoryUsedBytes } = vms;
  const findings = [
    ...(drained() ? [drainedFinding(node)] : []),
    ...credentials.findings(),
    ...(config.insecurePlaintext ? [WITHOUT_TLS] : []),
    ...(config.lock.disabledForBenchmark === true ? [LOCK_DISABLED] : []),
    ...checkHost(host, { limitBytes: memoryLimitBytes, usedBytes: memoryUsedBytes }),
    ...ofKinds,
  ];
  return {
    node,
    ok: findings.every(({ level }) => level !== 'refusal'),
    findings,
    facts: {
      ...{ version: VERSION, protocol: PROTOCOL_VERSIONS, nodejs: process.version, kernel: host.kernel },
      ...{ drained: drained(), memoryLimitBytes, memoryUsedBytes, qemu },
      certificateExpiresAt: credentials.expiresAt?.toISOString() ?? null,
    },
  };
}

/** How fit this host is for the kinds of guests that need something of it. */
async function doctorKinds(kinds: GuestKinds): Promise<KindHealth> {
  const findings: PreflightFinding[] = [];
  let qemu: KindHealth['qemu'] = null;
  for (const kind of Object.values(kinds)) {
    const health = await kind.doctor?.();
    if (!health) continue;
    findings.push(...health.findings);
    qemu ??= health.qemu;
  }
  return { findings, qemu };
}

function drainedFinding(node: string): PreflightFinding {
  return {
    level: 'warning',
    code: 'node-drained',
    message: `node ${node} is drained and takes no VMs`,
    remedy: `once it is to be used again: vmferry undrain ${node}`,
  };
}
