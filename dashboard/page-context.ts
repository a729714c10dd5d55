import type { MigrationInfo } from '../shared/api.js';
import type { LiveState } from './live-state.js';

/** What views are made from, and what their buttons do. */
export interface PageContext {
  readonly state: LiveState;
  readonly actions: {
    /** Asks where a VM of this node is to go. */
    migrate(vm: string): void;
    /** Asks whether a migration from this node is to be cancelled. */
    cancel(migration: Pick<MigrationInfo, 'id' | 'vm' | 'from' | 'to'>): void;
    /** Shows one that has ended. */
    show(migration: Pick<MigrationInfo, 'id' | 'vm'>): void;
    signIn(token: string): void;
    signOut(): void;
    filterGuests(text: string): void;
    showWholeHistory(): void;
  };
  /** What the reader has chosen to see. */
  readonly choices: { readonly guestFilter: string; readonly wholeHistory: boolean };
}
