"""Great Expectations as one engine among others: in process, in a child, on a data source.

* :mod:`~sluicegate.stages.validation.gx.questions`: what is asked, small enough to be sent.
* :mod:`~sluicegate.stages.validation.gx.quiet`: importing GX and putting its state back.
* :mod:`~sluicegate.stages.validation.gx.resolving`: types and arguments that GX really has.
* :mod:`~sluicegate.stages.validation.gx.results`: results of GX without data values.
* :mod:`~sluicegate.stages.validation.gx.engine`: GX in this process.
* :mod:`~sluicegate.stages.validation.gx.child`: GX in a child process with limits, and
  :mod:`~sluicegate.stages.validation.gx.wire`, :mod:`~sluicegate.stages.validation.gx.frames`,
  :mod:`~sluicegate.stages.validation.gx.supervisor`,
  :mod:`~sluicegate.stages.validation.gx.worker`, its other half.
* :mod:`~sluicegate.stages.validation.gx.source`: GX on the data source itself.
* :mod:`~sluicegate.stages.validation.gx.checkpoints`: a checkpoint taken apart into gates.
"""
