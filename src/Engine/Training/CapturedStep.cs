using TransferEngine.Kernels;
using TransferEngine.Modules;

namespace TransferEngine.Training;

/// <summary>
/// A loss and its gradients, recorded once and replayed: for the CPU, OpenCL and CUDA what PyTorch's make_graphed_callables is for CUDA. A replay copies new inputs over
/// the recorded ones and runs the recorded launches again, without tensors, graph or allocation on the host, to the same bits as the step itself.
/// <para>The first run is an ordinary one, so that what is made at first use is there. The second is recorded. The third is compared with it, launch by
/// launch and number by number; from the fourth on it is replayed. Random numbers (dropout) are drawn anew at each replay, in the order of the streams; running statistics
/// and their counts go on. The optimiser, its schedule and clipping are no part of it: they run as ever, after each run.</para>
/// <para>Refused with a <see cref="CaptureException"/>: reading the device within the step (Item, ToArray, a host's decision by values), drawing random numbers on
/// the host, another device, and a number of the host that changes from the recorded step to the compared one, such as a coefficient that is annealed; hand that in as an
/// input tensor. A number that changes later, or rarely, stays what it was: call <see cref="Reset"/> then. What the step's code does besides (counting,
/// printing, hooks) happens in the first three runs only.</para>
/// <para>Inputs of other shapes than the first run's are computed as usual. Where the model changes otherwise than by training (modes, freezing, hooks, a move to another device,
/// frozen weights), it is recorded anew. The memory of a recorded step is kept for it until <see cref="Dispose"/> or <see cref="Reset"/>. Not for several threads at once.</para>
/// </summary>
/// <example><code>
/// using var step = new CapturedStep(model, inputs => model.Forward(inputs[0]).CrossEntropy(inputs[1]));
/// foreach (var batch in loader)
/// {
///     var loss = step.Run(batch.Input, batch.Target);
///     optimizer.Step();
///     optimizer.ZeroGrad();
/// }
/// </code></example>
public sealed class CapturedStep : IDisposable
{
    private readonly Module model;
    private readonly Func<IReadOnlyList<Tensor>, Traced> step;
    private readonly Func<Tensor> trace;
    private Stage stage;
    private (Shape Shape, ElementType Type, Device Device)[] forms = [];
    private Tensor[] own = [];
    private ModuleStamp? stamp;
    private StepRecord? record;
    private int recordedRows;

    /// <summary>A step that is captured as it is run.</summary>
    /// <param name="model">What the loss is computed by: a change of its modes, hooks, children or frozen weights is noticed.</param>
    /// <param name="loss">Takes the inputs to a scalar, without calling Backward.</param>
    public CapturedStep(Module model, Func<IReadOnlyList<Tensor>, Tensor> loss) : this(model, Tracing(loss))
    {
    }

    /// <param name="model">What the loss is computed by.</param>
    /// <param name="step">Takes the inputs to the loss, and to what is differentiated instead.</param>
    internal CapturedStep(Module model, Func<IReadOnlyList<Tensor>, Traced> step)
    {
        ArgumentNullException.ThrowIfNull(model);
        (this.model, this.step) = (model, step);
        trace = () => Forward(own);
    }

    /// <summary>How far it has come.</summary>
    private enum Stage
    {
        New,
        Tried,
        Recorded,
        Proven,
    }

    /// <summary>Whether the next run, with inputs of the recorded shapes and a model that has not changed, is a replay.</summary>
    public bool IsCaptured => stage == Stage.Proven;

    /// <summary>The rows that the loss of the last run is a mean over.</summary>
    internal int Rows { get; private set; }

    /// <summary>Computes the loss and adds the gradients to those of the leaves, as Backward does.</summary>
    /// <param name="inputs">What changes from step to step; in the same order each time.</param>
    /// <returns>The loss. It and the gradients are overwritten by the next run: clone what is to last.</returns>
    /// <exception cref="CaptureException">The step can't be captured. No gradient was added and random streams are where they were; running statistics may have seen the batch.</exception>
    /// <exception cref="ArgumentException">An input needs a gradient.</exception>
    /// <exception cref="ShapeException">The loss is no scalar.</exception>
    public Tensor Run(params ReadOnlySpan<Tensor> inputs)
    {
        foreach (var input in inputs)
        {
            ArgumentNullException.ThrowIfNull(input);
            if (input.RequiresGrad)
                throw new ArgumentException($"CapturedStep: an input {input.Shape} needs a gradient, which would go to the copy that the step is recorded with. Detach() it.", nameof(inputs));
        }
        if (stage != Stage.New && !(stamp!.Holds && record is not { IsCurrent: false }))
            Reset();
        if (stage == Stage.New || !Fits(inputs))
            return Ordinary(inputs);
        try
        {
            TakeOver(inputs);
            if (stage == Stage.Proven)
                record!.Replay();
            else
                Record();
        }
        catch
        {
            Reset();
            throw;
        }
        Rows = recordedRows;
        record!.Deliver();
        return record.Result;
    }

    /// <summary>Forgets what is recorded, and gives its memory back: the next runs record anew.</summary>
    public void Reset()
    {
        record?.Dispose();
        foreach (var input in own)
            input.Dispose();
        (stage, record, stamp, own) = (Stage.New, null, null, []);
    }

    /// <summary>As <see cref="Reset"/>.</summary>
    public void Dispose() => Reset();

    private static Func<IReadOnlyList<Tensor>, Traced> Tracing(Func<IReadOnlyList<Tensor>, Tensor> loss)
    {
        ArgumentNullException.ThrowIfNull(loss);
        return inputs =>
        {
            var result = loss(inputs);
            return new(result, result, 1);
        };
    }

    private Tensor Ordinary(ReadOnlySpan<Tensor> inputs)
    {
        using var scope = new TensorScope();
        var loss = scope.Keep(Forward(inputs.ToArray()));
        if (stage == Stage.New)
        {
            forms = new (Shape, ElementType, Device)[inputs.Length];
            for (int i = 0; i < forms.Length; i++)
                forms[i] = (inputs[i].Shape, inputs[i].ElementType, inputs[i].Device);
            (stage, stamp) = (Stage.Tried, new(model));
        }
        return loss;
    }

    private Tensor Forward(IReadOnlyList<Tensor> inputs)
    {
        var traced = step(inputs);
        Check.That(traced.Loss.Elements == 1, $"CapturedStep: the loss {traced.Loss.Shape} is no scalar. Reduce it with Mean() or Sum().");
        traced.Objective.Backward();
        Rows = traced.Rows;
        return traced.Loss.Detach();
    }

    private void Record()
    {
        record ??= new(forms.Length > 0 ? forms[0].Device : model.Parameters().First().Device);
        record.Record(trace);
        recordedRows = Rows;
        stage++;
    }

    private bool Fits(ReadOnlySpan<Tensor> inputs)
    {
        if (inputs.Length != forms.Length)
            return false;
        for (int i = 0; i < forms.Length; i++)
        {
            if (inputs[i].Shape != forms[i].Shape || inputs[i].ElementType != forms[i].Type || !ReferenceEquals(inputs[i].Device, forms[i].Device))
                return false;
        }
        return true;
    }

    /// <summary>Copies the inputs to where the recorded launches read them.</summary>
    private void TakeOver(ReadOnlySpan<Tensor> inputs)
    {
        if (own.Length != inputs.Length)
        {
            own = new Tensor[inputs.Length];
            for (int i = 0; i < own.Length; i++)
                own[i] = Tensor.Allocate(inputs[i].Shape, inputs[i].Device, inputs[i].ElementType).KeepAlive();
        }
        for (int i = 0; i < own.Length; i++)
        {
            if (inputs[i].IsContiguous)
                own[i].Device.Compute.CopyWithin(inputs[i].Slice, own[i].Slice);
            else
                own[i].Assign(inputs[i]);
        }
    }
}

/// <summary>What a step came to.</summary>
/// <param name="Loss">A scalar.</param>
/// <param name="Objective">What is differentiated: the loss, or a part of it.</param>
/// <param name="Rows">The rows that the loss is a mean over.</param>
internal readonly record struct Traced(Tensor Loss, Tensor Objective, int Rows);
