"""The mathematics of sampling: noise processes, schedules, samplers, guidance and noise. No torch at import."""
