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
  ) {
    if (!method || !path?.startsWith('/')) {
      throw new BadRequestException('method and path: expected an HTTP method and a path that begins with a slash');
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
            guest: guest === 'true',
            expiresAtMs: Number.POSITIVE_INFINITY,
          };
    return this.gateway.explainLimits({ method: method.toUpperCase(), path, caller, address: ip ?? '127.0.0.1' });
  }
}
