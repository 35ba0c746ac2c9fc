"""A video is a partition: the one dynamic partition set that every asset shares. Its keys are video ids."""

import dagster as dg

videos = dg.DynamicPartitionsDefinition(name="videos")
