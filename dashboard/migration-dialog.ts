import { toMigrationError } from '../shared/errors.js';
import type { AgentApi } from './agent-api.js';
import { openDialog } from './dialog.js';
import { traceOf } from './migration-trace.js';
import { traceView } from './migration-view.js';
import { html, type TemplateResult } from './vendor/lit-html/lit-html.js';

/** Shows a migration that has ended. */
export async function openMigrationDialog(
  api: AgentApi,
  { id, vm }: { id: string; vm: string },
): Promise<void> {
  let content: TemplateResult = html`<p class="empty" aria-busy="true">Asking the agent…</p>`;
  const dialog = openDialog(
    `Migration of ${vm}`,
    (self) =>
      html`${content}
        <div class="buttons">
          <button type="button" class="quiet" @click=${() => self.close()}>Close</button>
        </div>`,
    true,
  );
  try {
    content = traceView(traceOf(await api.migration(id)), html``);
  } catch (error) {
    content = html`<p class="notice problem" role="alert">${toMigrationError(error).message}</p>`;
  }
  dialog.update();
}
