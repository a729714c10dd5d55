import type { ClusterNode, PreflightReport } from '../shared/api.js';
import { toMigrationError } from '../shared/errors.js';
import { formatBytes } from '../shared/units.js';
import type { AgentApi } from './agent-api.js';
import { type Dialog, openDialog } from './dialog.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';

type Preflight =
  | { readonly step: 'choose' | 'checking' | 'starting' }
  | { readonly step: 'checked'; readonly report: PreflightReport }
  | { readonly step: 'failed'; readonly reason: string };

const BYTES_PER_MBIT = 125_000;

/** Asks where a VM is to go, shows what preflight finds, and starts. `targets`: the other nodes. `onStarted`: it waits or runs. */
export function openMigrateDialog(
  api: AgentApi,
  vm: string,
  targets: readonly ClusterNode[],
  onStarted: () => void,
): void {
  let now: Preflight = { step: 'choose' };
  const become = (dialog: Dialog, next: Preflight) => {
    now = next;
    dialog.update();
  };
  const submit = async (dialog: Dialog, form: HTMLFormElement) => {
    const request = { vm, ...choicesOf(new FormData(form)) };
    const start = now.step === 'checked' && now.report.ok;
    become(dialog, { step: start ? 'starting' : 'checking' });
    try {
      if (start) {
        await api.startMigration(request);
        dialog.close();
        onStarted();
      } else {
        become(dialog, { step: 'checked', report: await api.preflight(request) });
      }
    } catch (error) {
      become(dialog, { step: 'failed', reason: toMigrationError(error).message });
    }
  };
  openDialog(`Migrate ${vm}`, (dialog) => {
    const busy = now.step === 'checking' || now.step === 'starting';
    return html`<form
      @submit=${(event: SubmitEvent) => {
        event.preventDefault();
        if (!busy) void submit(dialog, event.target as HTMLFormElement);
      }}
      @input=${() => become(dialog, { step: 'choose' })}
    >
      ${fieldsView(targets)}
      <div aria-live="polite">${findingsView(vm, now)}</div>
      <div class="buttons">
        <button type="submit" class="main" ?disabled=${busy || targets.length === 0}>
          ${submitWords(now)}
        </button>
        <button type="button" class="quiet" @click=${() => dialog.close()}>Close</button>
      </div>
    </form>`;
  });
}

function submitWords(now: Preflight): string {
  switch (now.step) {
    case 'choose':
      return 'Check first';
    case 'checking':
    case 'starting':
      return 'One moment…';
    case 'checked':
      return now.report.ok ? 'Start the migration' : 'Check again';
    case 'failed':
      return 'Check again';
  }
}

function fieldsView(targets: readonly ClusterNode[]): TemplateResult {
  return html`<div class="fields">
      <label for="to">to node</label>
      <select id="to" name="to" required>
        ${targets.map(
          (target) =>
            html`<option value=${target.node} ?disabled=${target.error !== null}>
              ${target.node}${targetWords(target)}
            </option>`,
        )}
      </select>
    </div>
    <details>
      <summary>Options</summary>
      <div class="fields">
        <label for="downtime">downtime at most, ms</label>
        <input
          id="downtime"
          name="downtime"
          type="number"
          min="0"
          max="3600000"
          step="any"
          placeholder="the agent's"
        />
        <label for="bandwidth">bandwidth at most, Mbit/s</label>
        <input
          id="bandwidth"
          name="bandwidth"
          type="number"
          min="0.064"
          max="8000000"
          step="any"
          placeholder="the agent's"
        />
        <label for="verify">compare memory</label>
        <select id="verify" name="verify">
          <option value="">as the agent does</option>
          <option value="off">no</option>
          <option value="after">once it runs there</option>
          <option value="strict">before the commit (longer downtime)</option>
        </select>
        <label for="on-limit">if it does not converge</label>
        <select id="on-limit" name="on-limit">
          <option value="">as the agent does</option>
          <option value="switch-over">switch over all the same</option>
          <option value="cancel">cancel</option>
        </select>
      </div>
    </details>`;
}

/** What speaks for and against a node, at a glance. */
function targetWords({ status, error }: ClusterNode): string {
  if (error || !status) return ' (does not answer)';
  const { drained, memoryLimitBytes, memoryUsedBytes } = status.node;
  return drained ? ' (drained)' : ` (${formatBytes(memoryLimitBytes - memoryUsedBytes)} free)`;
}

/** What is not given is the agent's to choose. */
function choicesOf(form: FormData) {
  const given = (name: string) => {
    const value = form.get(name);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const downtime = given('downtime');
  const bandwidth = given('bandwidth');
  const verify = given('verify') as 'off' | 'after' | 'strict' | undefined;
  const onLimit = given('on-limit') as 'switch-over' | 'cancel' | undefined;
  return {
    to: given('to') ?? '',
    options: {
      ...(downtime !== undefined && { maxDowntimeMs: Number(downtime) }),
      ...(bandwidth !== undefined && {
        bandwidthBytesPerSecond: Math.round(Number(bandwidth) * BYTES_PER_MBIT),
      }),
      ...(verify && { verify }),
      ...(onLimit && { onLimit }),
    },
  };
}

const LEVELS = { ok: 'good', warning: 'warning', refusal: 'problem' } as const;

function findingsView(vm: string, now: Preflight): TemplateResult | typeof nothing {
  switch (now.step) {
    case 'choose':
      return html`<p class="note">
        Both nodes are asked first whether ${vm} can move; nothing is changed by that.
      </p>`;
    case 'checking':
      return html`<p class="note">Asking both nodes…</p>`;
    case 'starting':
      return nothing;
    case 'failed':
      return html`<p class="notice problem">${now.reason}</p>`;
    case 'checked': {
      const { ok, to, findings } = now.report;
      return html`<p class="verdict">
          <span class="badge ${ok ? 'good' : 'problem'}">${ok ? 'can move' : 'refused'}</span>
          ${ok ? `${vm} can move to ${to}.` : `${vm} can't move to ${to}.`}
        </p>
        <ul class="findings">
          ${findings.map(
            ({ level, message, remedy }) =>
              html`<li>
                <span class="badge ${LEVELS[level]}">${level}</span> ${message}
                ${remedy === undefined ? nothing : html`<span class="detail">${remedy}</span>`}
              </li>`,
          )}
        </ul>`;
    }
  }
}
