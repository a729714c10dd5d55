import { MigrationError } from '../../shared/errors.js';

/** Runs what may refuse. True if it did not; rethrows any error that is not one of ours, and 'internal' where it is no promise. */
export function refusesOrTakes(take: () => unknown, ...codes: readonly string[]): boolean {
  try {
    take();
    return true;
  } catch (error) {
    typed(error, codes);
    return false;
  }
}

/** The same for what takes time. */
export async function refusesOrTakesLater(
  take: () => Promise<unknown>,
  ...codes: readonly string[]
): Promise<boolean> {
  try {
    await take();
    return true;
  } catch (error) {
    typed(error, codes);
    return false;
  }
}

function typed(error: unknown, codes: readonly string[]): void {
  if (!(error instanceof MigrationError)) throw error;
  if (codes.length > 0 && !codes.includes(error.code)) throw error;
  if (error.message === '') throw new Error('an error without a word');
}
