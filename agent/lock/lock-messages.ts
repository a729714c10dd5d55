import type { SourceMessage, TargetMessage } from '../../shared/protocol/messages.js';

/** What the coordinator of a migration says to a node lock, and what that answers: the same words locally and on the wire. */
export type LockCommand = Extract<SourceMessage, { type: `lock-${string}` }>;
export type LockAnswer = Extract<TargetMessage, { type: `lock-${string}` }>;
export type LockStatus = Extract<LockAnswer, { type: 'lock-status' }>;

const COMMANDS: Record<LockCommand['type'], true> = {
  'lock-request': true,
  'lock-try': true,
  'lock-pass': true,
  'lock-confirm': true,
  'lock-keep': true,
  'lock-release': true,
};
const ANSWERS: Record<LockAnswer['type'], true> = {
  'lock-granted': true,
  'lock-busy': true,
  'lock-offer': true,
  'lock-status': true,
};

export function isLockCommand(message: SourceMessage): message is LockCommand {
  return Object.hasOwn(COMMANDS, message.type);
}

export function isLockAnswer(message: TargetMessage): message is LockAnswer {
  return Object.hasOwn(ANSWERS, message.type);
}
