import type { PageContext } from './page-context.js';
import { html, nothing, type TemplateResult } from './vendor/lit-html/lit-html.js';

/** Asks for a token, where the agent wants one. `reason`: the agent's own. */
export function signInView({ actions }: PageContext, reason: string): TemplateResult {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.target as HTMLFormElement;
    const token = new FormData(form).get('token');
    if (typeof token === 'string' && token.trim() !== '') actions.signIn(token.trim());
  };
  return html`<section class="sign-in" aria-labelledby="sign-in">
    <h2 id="sign-in">This agent asks who you are</h2>
    <p class="notice" role="alert">It answered: ${reason}.</p>
    ${
      location.protocol === 'https:'
        ? html`<p class="note">
            Over TLS the browser shows a certificate of the cluster's CA as well: import an operator's.
          </p>`
        : nothing
    }
    ${
      isSecureContext
        ? html`<form @submit=${submit}>
            <label for="token">Token</label>
            <input id="token" name="token" type="password" autocomplete="off" spellcheck="false" required />
            <p class="note">
              What <code>vmferry token create</code> has written to a file. It is kept by this tab alone,
              until that is closed or you sign out.
            </p>
            <button type="submit">Sign in</button>
          </form>`
        : html`<p>
            This page came without TLS from another host, where others could read a token on its way. Open it
            by
            <code>https</code>, or through <code>ssh -L 7800:localhost:7800 HOST</code> at
            <code>http://localhost:7800/</code>.
          </p>`
    }
  </section>`;
}
