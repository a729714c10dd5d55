import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';

/** One valid message of each type, several where a field can be left out. */
export const SOURCE_SAMPLES: readonly SourceMessage[] = [
  {
    type: 'hello',
    versions: { min: 1, max: 1 },
    node: 'node-a',
    to: 'node-b',
    agent: 'vmferry 0.1.0',
    features: [],
    migrationId: 'm-20260101-0001',
  },
  { type: 'lock-request', vm: 'web-1', requestedAt: 1_767_225_600_000 },
  { type: 'lock-try' },
  { type: 'lock-pass' },
  { type: 'lock-confirm' },
  { type: 'lock-keep' },
  { type: 'lock-release' },
  {
    type: 'prepare',
    definition: {
      name: 'web-1',
      kind: 'embedded',
      memory: 67_108_864,
      program: 'dirty',
      parameters: { pages: 256 },
      stopAtInstruction: 5_000_000_000,
    },
    imageBytes: 0,
    regions: [{ name: 'ram', bytes: 67_108_864 }],
    streams: 1,
    verify: 'after',
    dryRun: false,
  },
  {
    type: 'prepare',
    definition: { name: 'own', kind: 'embedded', memory: 2 ** 31, program: 'image', parameters: {} },
    imageBytes: 4096,
    regions: [{ name: 'ram', bytes: 2 ** 31 }],
    streams: 16,
    verify: 'off',
    dryRun: true,
  },
  { type: 'verify-request', region: 0, firstPage: 4096, pageCount: 4096 },
  { type: 'finalize', stateDigest: '0123456789abcdef', pagesSent: 20_000, resume: true },
  { type: 'commit' },
  { type: 'abort', code: 'cancelled', message: 'cancelled by the operator' },
  { type: 'ask' },
];

export const TARGET_SAMPLES: readonly TargetMessage[] = [
  { type: 'welcome', version: 1, node: 'node-b', agent: 'vmferry 0.1.0', features: [] },
  { type: 'lock-granted' },
  { type: 'lock-busy' },
  { type: 'lock-offer' },
  { type: 'lock-status', position: 2, overtaken: 1, kept: false, holder: 'm-20260101-0000' },
  {
    type: 'prepared',
    token: 'c2VjcmV0',
    findings: [
      { level: 'ok', code: 'memory', message: '64 MiB of 4 GiB are free' },
      { level: 'refusal', code: 'target-has-guest', message: 'web-1 is defined', remedy: 'undefine it' },
    ],
  },
  { type: 'round-ack', round: 3 },
  { type: 'verify-hashes', region: 0, firstPage: 4096, hashes: Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 255]) },
  { type: 'ready', loadMs: 1.5 },
  { type: 'running', resumeMs: 0.25, failure: null },
  { type: 'aborted' },
  { type: 'answer', outcome: 'committed' },
  { type: 'error', code: 'wrong-node', message: 'node c answers where b was meant', retryable: false },
];
