import { pathText } from '@sluice/config';
import { examine } from '../config/examine.js';
import { located, readGatewayFile } from '../config/gateway-file.js';
import { type Finding, review, type ReviewOptions } from './review.js';

/** What `policies check` says of a file. */
export interface PolicyReport {
  readonly file: string;
  /** Nothing but warnings was found. */
  readonly ok: boolean;
  readonly policies: number;
  /** Methods that anyone may call. */
  readonly publicMethods: number;
  readonly findings: readonly {
    readonly rule: Finding['rule'];
    readonly severity: Finding['severity'];
    /** The keys that lead to the place. */
    readonly key: string;
    /** With the place in the file. */
    readonly text: string;
  }[];
}

/** @throws ConfigurationError when the file cannot work at all */
export function checkPolicies(file: string, options: ReviewOptions): PolicyReport {
  const config = readGatewayFile(file);
  const { subject, faults } = examine(config, file);
  if (faults.length > 0) throw located(file, faults);
  const findings = review(subject, options).map((finding) => ({
    rule: finding.rule,
    severity: finding.severity,
    key: pathText(finding.path),
    text: located(file, [finding]).faults[0]!,
  }));
  const open = subject.routes.filter(({ target }) => target.access.public).map(({ target }) => target.method);
  return {
    file,
    ok: findings.every(({ severity }) => severity === 'warning'),
    policies: config.limits.policies.length,
    publicMethods: new Set(open).size,
    findings,
  };
}
