using System.Globalization;
using System.Text;

namespace TransferEngine.Modules;

/// <summary>One layer of a <see cref="ModelDescription"/>.</summary>
/// <param name="Name">From the model's root.</param>
/// <param name="Type">The module's type.</param>
/// <param name="Shape">What it puts out for the input that the model was described with; of its largest parameter without one.</param>
/// <param name="Parameters">Elements of its own parameters.</param>
/// <param name="Trainable">How many of them need a gradient.</param>
/// <param name="Mode">train or eval, or frozen where a freeze holds it in evaluation.</param>
/// <param name="Forward">Multiply-adds of the forward pass; 0 without an input.</param>
/// <param name="Backward">Multiply-adds of the backward pass that training would run as things stand: none below the lowest weight that learns.</param>
public sealed record LayerDescription(string Name, string Type, Shape? Shape, long Parameters, long Trainable, string Mode, long Forward, long Backward);

/// <summary>What a model is made of, what of it learns, and what it costs. <see cref="ToString"/> is a table.</summary>
/// <param name="Layers">The modules with parameters or costs of their own, or without children, in the model's order.</param>
public sealed record ModelDescription(IReadOnlyList<LayerDescription> Layers)
{
    /// <summary>The elements of all parameters.</summary>
    public long Parameters => Layers.Sum(layer => layer.Parameters);

    /// <summary>Those that need a gradient.</summary>
    public long Trainable => Layers.Sum(layer => layer.Trainable);

    /// <summary>The multiply-adds of a forward pass.</summary>
    public long Forward => Layers.Sum(layer => layer.Forward);

    /// <summary>The multiply-adds of a backward pass.</summary>
    public long Backward => Layers.Sum(layer => layer.Backward);

    /// <summary>A table, a line a layer and one of sums.</summary>
    public override string ToString()
    {
        string[][] rows =
        [
            ["layer", "type", "shape", "parameters", "trainable", "mode", "forward", "backward"],
            .. Layers.Select(layer => new[] { layer.Name, layer.Type, layer.Shape?.ToString() ?? "", Count(layer.Parameters), Count(layer.Trainable), layer.Mode, Count(layer.Forward), Count(layer.Backward) }),
            ["total", "", "", Count(Parameters), Count(Trainable), "", Count(Forward), Count(Backward)],
        ];
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        var text = new StringBuilder();
        foreach (string[] row in rows)
        {
            string line = string.Join("  ", row.Select((cell, column) => column is 3 or 4 or 6 or 7 ? cell.PadLeft(widths[column]) : cell.PadRight(widths[column])));
            text.Append(line.TrimEnd()).Append('\n');
        }
        return text.ToString();

        static string Count(long value) => value.ToString("N0", CultureInfo.InvariantCulture);
    }
}

public abstract partial class Module
{
    /// <summary>
    /// The multiply-adds that one forward pass of this module itself takes, its children's left out, and those of a backward pass as things stand. 0 where sums
    /// of products are none of its work. For <see cref="Describe"/>.
    /// </summary>
    /// <param name="input">What went in; whether it needs a gradient counts.</param>
    /// <param name="output">What came out.</param>
    public virtual (long Forward, long Backward) MultiplyAdds(Tensor input, Tensor output) => (0, 0);

    /// <summary>Lists the layers: names, shapes, parameters, what of them learns, and with an input what they cost.</summary>
    /// <param name="input">A batch; it runs through the model in evaluation mode, so that nothing changes. Without one, costs are not known.</param>
    public ModelDescription Describe(Tensor? input = null)
    {
        var runs = new Dictionary<Module, (Shape Output, long Forward, long Backward)>(ReferenceEqualityComparer.Instance);
        var named = NamedModules().ToArray();
        if (input is not null)
            Observe(input, named, runs);
        var layers = new List<LayerDescription>();
        foreach (var (name, module) in named)
        {
            bool hasRun = runs.TryGetValue(module, out var run);
            if (module.children.Count > 0 && module.parameters.Count == 0 && run.Forward == 0)
                continue;
            var tensors = module.parameters.Select(item => item.Tensor).ToArray();
            Shape? shape = hasRun ? run.Output : tensors.MaxBy(tensor => tensor.Elements)?.Shape;
            layers.Add(new(name, module is Activation ? module.ToString()! : module.GetType().Name, shape, tensors.Sum(tensor => (long)tensor.Elements), tensors.Where(tensor => tensor.RequiresGrad).Sum(tensor => (long)tensor.Elements),
                module.EvaluationHolds > 0 ? "frozen" : module.trains ? "train" : "eval", run.Forward, run.Backward));
        }
        return new(layers);
    }

    /// <summary>Of a product in which each element of the input, or of the output, meets one of the weight's rows: the gradient of either factor costs as much as the product.</summary>
    private protected static (long Forward, long Backward) ProductCost(Tensor input, Tensor meeting, Tensor weight)
    {
        ArgumentNullException.ThrowIfNull(input);
        ArgumentNullException.ThrowIfNull(meeting);
        long forward = (long)meeting.Elements * (weight.Elements / weight.Shape[0]);
        return (forward, (input.RequiresGrad ? forward : 0) + (weight.RequiresGrad ? forward : 0));
    }

    private void Observe(Tensor input, (string Name, Module Module)[] named, Dictionary<Module, (Shape Output, long Forward, long Backward)> runs)
    {
        using var scope = new TensorScope();
        var putBack = Evaluate();
        var hooks = Array.ConvertAll(named, item => item.Module.RegisterForwardHook((module, given, output) =>
        {
            var (forward, backward) = module.MultiplyAdds(given, output);
            runs.TryGetValue(module, out var before);
            runs[module] = (output.Shape, before.Forward + forward, before.Backward + backward);
            return null;
        }));
        try
        {
            Forward(input);
        }
        finally
        {
            foreach (var hook in hooks)
                hook.Dispose();
            putBack();
        }
    }
}
