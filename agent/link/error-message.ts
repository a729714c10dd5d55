import type { MigrationError } from '../../shared/errors.js';
import { MAX_TEXT_LENGTH, type TargetMessage } from '../../shared/protocol/messages.js';

/** An error as it is told to the source: what its text has too much is cut off, since a longer one is no message. */
export function errorMessage(error: MigrationError): Extract<TargetMessage, { type: 'error' }> {
  return { type: 'error', ...error.toJSON(), message: messageText(error.message) };
}

/** As much of a text as a message may carry. */
export function messageText(text: string): string {
  return text.slice(0, MAX_TEXT_LENGTH);
}
