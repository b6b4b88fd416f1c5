namespace TransferEngine.Modules;

/// <summary>Joins axes into one.</summary>
/// <param name="first">The first of them.</param>
/// <param name="last">The last of them.</param>
public sealed class Flatten(int first = 1, int last = -1) : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input.Flatten(first, last);
}

/// <summary>Passes its input through: what a layer is replaced by to leave it out.</summary>
public sealed class Identity : Module
{
    /// <inheritdoc/>
    internal override bool IsTransparent => !HasHooks;

    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => input;
}

/// <summary>Any function of one tensor as a module, such as <c>new Function(x => x.Relu() * 2)</c>.</summary>
/// <param name="function">The function.</param>
public sealed class Function(Func<Tensor, Tensor> function) : Module
{
    /// <inheritdoc/>
    protected override Tensor Compute(Tensor input) => function(input);
}
