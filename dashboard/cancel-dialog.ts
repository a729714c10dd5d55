import { type MigrationError, toMigrationError } from '../shared/errors.js';
import type { AgentApi } from './agent-api.js';
import { type Dialog, openDialog } from './dialog.js';
import { html, nothing } from './vendor/lit-html/lit-html.js';

/** Asks once more before a migration is cancelled. `onCancelled`: it has taken effect. */
export function openCancelDialog(
  api: AgentApi,
  { id, vm, from, to }: { id: string; vm: string; from: string; to: string },
  onCancelled: () => void,
): void {
  let busy = false;
  let failure: MigrationError | null = null;
  const cancel = async (dialog: Dialog) => {
    busy = true;
    failure = null;
    dialog.update();
    try {
      await api.cancelMigration(id);
      dialog.close();
      onCancelled();
    } catch (error) {
      failure = toMigrationError(error);
      busy = false;
      dialog.update();
    }
  };
  openDialog(
    `Cancel the migration of ${vm}?`,
    (dialog) => html`
      <p>${vm} stays on ${from} as it is, running or paused; what has been copied to ${to} is thrown away.</p>
      ${failure === null ? nothing : html`<p class="notice problem" role="alert">${failure.message}</p>`}
      <div class="buttons">
        ${
          failure && !failure.retryable
            ? nothing
            : html`<button type="button" class="danger" ?disabled=${busy} @click=${() => void cancel(dialog)}>
                Cancel the migration
              </button>`
        }
        <button type="button" class="quiet" @click=${() => dialog.close()}>
          ${failure ? 'Close' : 'Let it go on'}
        </button>
      </div>
    `,
  );
}
