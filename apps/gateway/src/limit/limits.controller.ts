import { isIP } from 'node:net';
import { BadRequestException, Controller, Get, Inject, Query } from '@nestjs/common';
import { GatewayService } from '../gateway.service.js';

/** What an operator asks on the admin port: which limits a call would meet, without spending any. */
@Controller('limits')
export class LimitsController {
  constructor(@Inject(GatewayService) private readonly gateway: GatewayService) {}

  @Get('explain')
  async explain(
    @Query('method') method?: string,
    @Query('path') path?: string,
    @Query('user') user?: string,
    @Query('tenant') tenant?: string,
    @Query('guest') guest?: string,
    @Query('ip') ip?: string,
    @Query('host') host?: string,
    @Query('key') key?: string,
  ) {
    if (!method || !path?.startsWith('/')) {
      throw new BadRequestException('method and path: expected an HTTP method and a path that begins with a slash');
    }
    const withoutQuery = path.split('?', 1)[0]!;
    if (ip !== undefined && isIP(ip) === 0) throw new BadRequestException(`ip ${ip}: expected an IPv4 or IPv6 address`);
    if (user === undefined && guest !== undefined) {
      throw new BadRequestException('guest describes the caller that user names: expected a user');
    }
    if (user === undefined && key !== undefined) {
      throw new BadRequestException('key is what the caller that user names comes with: expected a user, its owner');
    }
    const caller =
      user === undefined
        ? undefined
        : {
            subject: user,
            tenant: tenant ?? 'default',
            session: '',
            roles: [],
            scope: '',
            account: '',
            guest: guest === 'true',
            ...(key !== undefined && { key: { id: key, methods: [], models: [], networks: [] } }),
            expiresAtMs: Number.POSITIVE_INFINITY,
          };
    return this.gateway.explainLimits({
      method: method.toUpperCase(),
      path: withoutQuery,
      caller,
      tenant,
      address: ip ?? '127.0.0.1',
      host: host ?? '',
    });
  }
}
